using System.Text;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;
using Kedge.Host.Forwarding;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace Kedge.Host.Listeners;

/// <summary>The two TLS listeners, and the limits of what callers may do on them.</summary>
public static class ProxyListeners
{
    public static ProxyServer Create(
        ListenerOptions options, CertificateStore certificates, ProxyEngine engine, ProxyTelemetry telemetry, ILoggerFactory loggers) =>
        new(
            ListenerHost.Create(
                loggers,
                kestrel =>
                {
                    SetLimits(kestrel, options.Limits);
                    Listen(kestrel, options, certificates, telemetry, ListenerKind.GrpcTls, options.GrpcTlsPort, HttpProtocols.Http2);
                    Listen(kestrel, options, certificates, telemetry, ListenerKind.HttpTls, options.HttpTlsPort, HttpProtocols.Http1AndHttp2);
                }),
            engine,
            options.GrpcTlsPort);

    private static void Listen(
        KestrelServerOptions kestrel,
        ListenerOptions options,
        CertificateStore certificates,
        ProxyTelemetry telemetry,
        ListenerKind kind,
        int port,
        HttpProtocols protocols)
    {
        if (port == 0)
        {
            return;
        }
        kestrel.Listen(options.BindAddress, port, listener =>
        {
            listener.Protocols = protocols;
            listener.Count(telemetry.ListenerOf(kind));
            listener.UseHttps(new TlsHandshakeCallbackOptions
            {
                OnConnection = _ => new(certificates.OptionsFor(kind)),
                HandshakeTimeout = OrForEver(options.Limits.HeaderTimeout),
            });
        });
    }

    private static void SetLimits(KestrelServerOptions kestrel, ListenerLimits limits)
    {
        kestrel.AddServerHeader = false;
        // HTTP/2's dynamic table would save callers some bytes for the price of a look-up and a place for each header. The
        // static table stays.
        kestrel.AllowResponseHeaderCompression = false;
        // An absolute-form target whose authority differs from Host: RFC 9112, 3.2.2 lets the target win.
        kestrel.AllowHostHeaderOverride = true;
        // Header values pass as the bytes that they are.
        kestrel.RequestHeaderEncodingSelector = RequestHeaderDecoding.EncodingOf;
        kestrel.ResponseHeaderEncodingSelector = _ => Encoding.Latin1;

        // Bodies of any size and pace go through; the engine ends those that stand still.
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;

        var headerBytes = limits.MaxHeaderBytes;
        // The server insists that the buffer of a connection holds the headers.
        kestrel.Limits.MaxRequestBufferSize = Math.Max(1024 * 1024, headerBytes);
        kestrel.Limits.MaxRequestLineSize = headerBytes / 4;
        kestrel.Limits.MaxRequestHeadersTotalSize = headerBytes;
        kestrel.Limits.MaxRequestHeaderCount = limits.MaxHeaderCount;
        kestrel.Limits.RequestHeadersTimeout = OrForEver(limits.HeaderTimeout);
        kestrel.Limits.MaxConcurrentConnections = limits.MaxConnections == 0 ? null : limits.MaxConnections;
        kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(130);

        var http2 = kestrel.Limits.Http2;
        http2.MaxStreamsPerConnection = limits.MaxStreams;
        // One field may take up all, so that a token of any size within the limit gets its answer instead of a broken connection.
        http2.MaxRequestHeaderFieldSize = headerBytes;
        // What one stream, and one connection with all its streams, may hold in memory when nobody reads.
        http2.InitialStreamWindowSize = 512 * 1024;
        http2.InitialConnectionWindowSize = 2 * 1024 * 1024;
        // Finds clients that are gone without a word, also while their streams are quiet.
        http2.KeepAlivePingDelay = TimeSpan.FromSeconds(60);
        http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(20);
    }

    // The server's own word for it, an infinite time span, makes it fail every TLS handshake: its timer takes 49 days at most.
    private static TimeSpan OrForEver(TimeSpan limit) => limit == TimeSpan.Zero ? TimeSpan.FromDays(24) : limit;
}
