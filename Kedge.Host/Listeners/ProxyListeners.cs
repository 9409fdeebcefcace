using Microsoft.AspNetCore.Http.Features;
using System.Text;
using Kedge.Host.Flags;
using Kedge.Host.Forwarding;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace Kedge.Host.Listeners;

/// <summary>The two TLS listeners, and the limits of what callers may do on them.</summary>
public static class ProxyListeners
{
    private static readonly Encoding HeaderEncoding = Encoding.Latin1;

    public static WebApplication Create(
        ListenerOptions options, CertificateStore certificates, ProxyEngine engine, ProxyTelemetry telemetry, ILoggerFactory loggers) =>
        ListenerHost.Create(
            loggers,
            kestrel =>
            {
                SetLimits(kestrel);
                Listen(kestrel, options, certificates, telemetry, ListenerKind.GrpcTls, options.GrpcTlsPort, HttpProtocols.Http2);
                Listen(kestrel, options, certificates, telemetry, ListenerKind.HttpTls, options.HttpTlsPort, HttpProtocols.Http1AndHttp2);
            },
            context => engine.HandleAsync(context, context.Features.GetRequiredFeature<ListenerFeature>().Kind));

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
            var feature = new ListenerFeature(kind);
            listener.Protocols = protocols;
            listener.Count(telemetry.ListenerOf(kind));
            listener.Use(next => connection =>
            {
                connection.Features.Set(feature);
                return next(connection);
            });
            listener.UseHttps(new TlsHandshakeCallbackOptions
            {
                OnConnection = _ => new(certificates.OptionsFor(kind)),
                HandshakeTimeout = TimeSpan.FromSeconds(10),
            });
        });
    }

    private static void SetLimits(KestrelServerOptions kestrel)
    {
        kestrel.AddServerHeader = false;
        // An absolute-form target whose authority differs from Host: RFC 9112, 3.2.2 lets the target win.
        kestrel.AllowHostHeaderOverride = true;
        // Header values pass as the bytes that they are.
        kestrel.RequestHeaderEncodingSelector = _ => HeaderEncoding;
        kestrel.ResponseHeaderEncodingSelector = _ => HeaderEncoding;

        // Bodies of any size and pace go through; the engine ends those that stand still.
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;

        kestrel.Limits.MaxRequestLineSize = 16 * 1024;
        kestrel.Limits.MaxRequestHeadersTotalSize = 64 * 1024;
        kestrel.Limits.MaxRequestHeaderCount = 200;
        kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(30);
        kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(130);

        var http2 = kestrel.Limits.Http2;
        http2.MaxStreamsPerConnection = 250;
        http2.MaxRequestHeaderFieldSize = 32 * 1024;
        // What one stream, and one connection with all its streams, may hold in memory when nobody reads.
        http2.InitialStreamWindowSize = 512 * 1024;
        http2.InitialConnectionWindowSize = 2 * 1024 * 1024;
        // Finds clients that are gone without a word, also while their streams are quiet.
        http2.KeepAlivePingDelay = TimeSpan.FromSeconds(60);
        http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(20);
    }

    /// <summary>Tells a request by which listener its connection came.</summary>
    private sealed record ListenerFeature(ListenerKind Kind);
}
