using Kedge.Wire.Tls;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Kedge.Host.Http;

/// <summary>Ends TLS connections, whichever implementation of TLS they use.</summary>
internal static class TlsEnd
{
    /// <summary>Whether it is a TLS connection whose handshake is done.</summary>
    public static bool IsTls(IFeatureCollection connection) =>
        connection.Get<TlsServer>() is not null || connection.Get<ISslStreamFeature>() is not null;

    /// <summary>
    /// Ends the server's direction with the alert <c>close_notify</c>; clear-text connections have none.
    /// </summary>
    public static Task SendAsync(IFeatureCollection connection) =>
        connection.Get<TlsServer>() is { } tls ? tls.ShutdownAsync().AsTask()
        : connection.Get<ISslStreamFeature>() is { } stream ? stream.SslStream.ShutdownAsync()
        : Task.CompletedTask;
}
