using System.Text;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;
using Kedge.Host.Forwarding;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Kedge.Wire.Loops;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace Kedge.Host.Listeners;

/// <summary>The listeners for proxied traffic and their limits.</summary>
public static class ProxyListeners
{
    public static ProxyServer Create(
        ListenerOptions options,
        CertificateStore? certificates,
        ProxyEngine engine,
        ProxyTelemetry telemetry,
        ConnectionGate gate,
        EventLoops? loops,
        ILoggerFactory loggers)
    {
        var handshakes = new Handshakes(telemetry.HandshakeFailures, loggers.CreateLogger("kedge.tls"));
        var proxyProtocol = new ProxyProtocol(
            options.ProxyProtocolFrom,
            OrInfinite(options.Limits.HeaderTimeout),
            telemetry.ProxyProtocol,
            loggers.CreateLogger("kedge.connections"));
        return new(
            ListenerHost.Create(
                new HandshakeLog(loggers),
                gate,
                loops,
                kestrel =>
                {
                    SetLimits(kestrel, options.Limits);
                    if (certificates is not null)
                    {
                        Listen(ListenerKind.GrpcTls, options.GrpcTlsPort, HttpProtocols.Http2);
                        Listen(ListenerKind.HttpTls, options.HttpTlsPort, HttpProtocols.Http1AndHttp2);
                    }
                    Listen(ListenerKind.HttpClear, options.HttpPlainPort, HttpProtocols.Http1AndHttp2);

                    void Listen(ListenerKind kind, int port, HttpProtocols protocols)
                    {
                        if (port != 0)
                        {
                            kestrel.Listen(options.BindAddress, port, listener =>
                            {
                                listener.Protocols = protocols;
                                listener.Count(telemetry.CountersOf(kind));
                                proxyProtocol.AddTo(listener, kind);
                                listener.LimitLookups();
                                listener.EndWhenOld(options.Limits, telemetry.CountersOf(kind));
                                if (kind == ListenerKind.HttpClear)
                                {
                                    listener.UseClearHttp2(OrInfinite(options.Limits.HeaderTimeout));
                                }
                                else
                                {
                                    handshakes.Watch(listener, kind);
                                    var loopTls = new LoopTls(
                                        kind, certificates!, OrInfinite(options.Limits.HeaderTimeout));
                                    loopTls.Begin(listener);
                                    listener.UseHttps(new TlsHandshakeCallbackOptions
                                    {
                                        OnConnection = handshake => Handshakes.ChooseAsync(
                                            handshake, kind, certificates!),
                                        HandshakeTimeout = OrInfinite(options.Limits.HeaderTimeout),
                                    });
                                    loopTls.End(listener);
                                    Handshakes.EndWatch(listener);
                                    listener.UseCloseNotify();
                                }
                                listener.UseLoops();
                                listener.UseHttp1Rules();
                                if (kind == ListenerKind.HttpTls)
                                {
                                    listener.UseHttp2Output();
                                }
                            });
                        }
                    }
                }),
            engine,
            options,
            new BadRequests(telemetry));
    }

    private static void SetLimits(KestrelServerOptions kestrel, ListenerLimits limits)
    {
        kestrel.AddServerHeader = false;
        // HTTP/2's dynamic table would save some bytes, but costs a look-up and memory for each header. The static
        // table is still used.
        kestrel.AllowResponseHeaderCompression = false;
        // The authority of an absolute-form target takes precedence over Host (RFC 9112, 3.2.2).
        kestrel.AllowHostHeaderOverride = true;
        // `:scheme http` on these TLS ports is a request to a forward proxy (RFC 9113, 8.3.1; RequestView).
        kestrel.AllowAlternateSchemes = true;
        // Header values are forwarded byte for byte.
        kestrel.RequestHeaderEncodingSelector = RequestHeaderDecoding.EncodingOf;
        kestrel.ResponseHeaderEncodingSelector = _ => Encoding.Latin1;

        // Bodies of any size and rate are forwarded; the engine ends exchanges that make no progress.
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;

        var headerBytes = limits.MaxHeaderBytes;
        // The server requires that the headers fit into the buffer of a connection.
        kestrel.Limits.MaxRequestBufferSize = Math.Max(1024 * 1024, headerBytes);
        kestrel.Limits.MaxRequestLineSize = headerBytes / 4;
        kestrel.Limits.MaxRequestHeadersTotalSize = headerBytes;
        kestrel.Limits.MaxRequestHeaderCount = limits.MaxHeaderCount;
        kestrel.Limits.RequestHeadersTimeout = OrInfinite(limits.HeaderTimeout);
        kestrel.Limits.MaxConcurrentConnections = limits.MaxConnections == 0 ? null : limits.MaxConnections;
        kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(130);

        var http2 = kestrel.Limits.Http2;
        http2.MaxStreamsPerConnection = limits.MaxStreams;
        // A single field may use the whole limit: beyond it, the server closes the connection instead of replying.
        http2.MaxRequestHeaderFieldSize = headerBytes;
        // How much one stream, and one connection with all its streams, may buffer while its data is not read.
        http2.InitialStreamWindowSize = 512 * 1024;
        http2.InitialConnectionWindowSize = 2 * 1024 * 1024;
        // Detects clients that have vanished, even while their streams are quiet.
        http2.KeepAlivePingDelay = TimeSpan.FromSeconds(60);
        http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(20);
    }

    // With Timeout.InfiniteTimeSpan the server fails every TLS handshake: its timer supports at most 49 days.
    private static TimeSpan OrInfinite(TimeSpan limit) => limit == TimeSpan.Zero ? TimeSpan.FromDays(24) : limit;
}
