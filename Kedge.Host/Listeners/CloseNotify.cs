using Kedge.Host.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Listeners;

/// <summary>
/// Ends TLS connections with the alert <c>close_notify</c>, as both sides must (RFC 8446, 6.1). The server does not,
/// and a caller whose response ends with the connection, as over HTTP/1.0, then takes it for cut off.
/// </summary>
internal static class CloseNotify
{
    // How long the alert waits for a caller that takes nothing.
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <summary>To be added after TLS.</summary>
    public static void UseCloseNotify(this ListenOptions listener) =>
        listener.Use(next => async connection =>
        {
            await next(connection);
            // A connection that is aborted ignores what is written, so that the caller sees a cut response as cut.
            if (!connection.ConnectionClosed.IsCancellationRequested
                && TlsEnd.IsTls(connection.Features))
            {
                try
                {
                    // The server leaves its own answers to malformed requests in the buffer.
                    await connection.Transport.Output.CompleteAsync().AsTask().WaitAsync(Timeout);
                    await TlsEnd.SendAsync(connection.Features).WaitAsync(Timeout);
                }
                catch (Exception e) when (e is IOException or InvalidOperationException or TimeoutException)
                {
                    // The caller is gone, or takes nothing.
                }
            }
        });
}
