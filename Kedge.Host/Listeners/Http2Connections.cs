using System.IO.Pipelines;
using Kedge.Host.Http;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Kedge.Host.Listeners;

/// <summary>What an HTTP/2 connection needs for informational responses.</summary>
internal static class Http2Connections
{
    /// <summary>Must be added after TLS.</summary>
    public static void UseHttp2Output(this ListenOptions listener) =>
        listener.Use(next => connection =>
        {
            if (IsHttp2(connection))
            {
                var transport = connection.Transport;
                var output = new Http2Output(transport.Output);
                connection.Features.Set(output);
                connection.Transport = new DuplexPipe(transport.Input, output);
            }
            return next(connection);
        });

    /// <summary>Whether HTTP/2 was negotiated.</summary>
    public static bool IsHttp2(ConnectionContext connection) =>
        connection.Features.Get<ITlsApplicationProtocolFeature>() is { } tls
        && tls.ApplicationProtocol.Span.SequenceEqual("h2"u8);
}

/// <summary>The two ends of a connection.</summary>
internal sealed class DuplexPipe(PipeReader input, PipeWriter output) : IDuplexPipe
{
    public PipeReader Input => input;

    public PipeWriter Output => output;
}
