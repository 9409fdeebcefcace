using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Text;

namespace Kedge.Client.Connections;

/// <summary>
/// The connections to kedges with one TLS identity: one pool per kedge, whichever hosts are called through it.
/// </summary>
internal sealed class KedgeClient : IDisposable
{
    private static readonly SslApplicationProtocol[] Any =
    [
        SslApplicationProtocol.Http2,
        SslApplicationProtocol.Http11,
    ];
    private static readonly SslApplicationProtocol[] Http11Only = [SslApplicationProtocol.Http11];

    private readonly KedgeConnector _connector;
    private readonly HttpMessageInvoker _invoker;
    private readonly bool _isTls;

    // Kedges that do not speak HTTP/2; at most as many as there are kedges.
    private readonly ConcurrentDictionary<string, bool> _http11 = new();

    /// <param name="tls">The TLS settings; null = plain text.</param>
    /// <param name="connectTimeout">The time limit for TCP and TLS together.</param>
    /// <param name="proxy">The proxy that connections go through; null = none.</param>
    /// <param name="onConnection">Receives each attempt to connect; null = no receiver.</param>
    public KedgeClient(
        KedgeTls? tls, TimeSpan connectTimeout, UpstreamProxy? proxy, Action<KedgeConnection>? onConnection)
    {
        _connector = new(tls, proxy, onConnection);
        _isTls = tls is not null;
        _invoker = new(new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ActivityHeadersPropagator = null,
            EnableMultipleHttp2Connections = true,
            ConnectTimeout = connectTimeout,
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(90),
            // DNS records change; open streams stay.
            PooledConnectionLifetime = TimeSpan.FromMinutes(15),
            KeepAlivePingDelay = TimeSpan.FromSeconds(60),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(20),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            RequestHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ResponseHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ConnectCallback = ConnectAsync,
        });
    }

    /// <summary>
    /// Sends a request whose URI names the kedge (host and port) and whose Host header names the service.
    /// </summary>
    /// <param name="request">The request; its scheme is ignored, and its version is set here.</param>
    /// <param name="isGrpc">Whether it is a gRPC call, which needs HTTP/2.</param>
    /// <param name="cancel">Ends the request.</param>
    public async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, bool isGrpc, CancellationToken cancel)
    {
        var kedge = request.RequestUri!.Authority;
        var needsHttp11 = !isGrpc && (IsUpgrade(request) || !_isTls || _http11.ContainsKey(kedge));
        request.Version = needsHttp11 ? HttpVersion.Version11 : HttpVersion.Version20;
        request.VersionPolicy = HttpVersionPolicy.RequestVersionExact;
        try
        {
            return await _invoker.SendAsync(request, cancel);
        }
        catch (HttpRequestException e) when (!needsHttp11 && !isGrpc && Find<Http11KedgeException>(e) is not null)
        {
            // No bytes were sent, so the request can be sent again.
            _http11[kedge] = true;
            request.Version = HttpVersion.Version11;
            return await _invoker.SendAsync(request, cancel);
        }
    }

    /// <summary>Opens a dedicated connection for HTTP/1.1.</summary>
    public async Task<Stream> DialAsync(string host, int port, TimeSpan timeout, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(timeout);
        try
        {
            return (await _connector.ConnectAsync(host, port, Http11Only, limit.Token)).Stream;
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw KedgeConnector.Unreachable(host, port, $"no connection within {timeout.TotalSeconds:0.#} s", e);
        }
    }

    public void Dispose() => _invoker.Dispose();

    public static T? Find<T>(Exception? e)
        where T : Exception
    {
        for (; e is not null; e = e.InnerException)
        {
            if (e is T found)
            {
                return found;
            }
        }
        return null;
    }

    private static bool IsUpgrade(HttpRequestMessage request) =>
        request.Headers.ConnectionClose != true && request.Headers.NonValidated.Contains("Upgrade");

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
        var wantsHttp2 = context.InitialRequestMessage.Version.Major >= 2;
        var (stream, protocol) = await _connector.ConnectAsync(host, port, wantsHttp2 ? Any : Http11Only, cancel);
        if (!wantsHttp2 || !_isTls)
        {
            return stream;
        }
        if (protocol == SslApplicationProtocol.Http2)
        {
            return new SchemeStream(stream);
        }
        await stream.DisposeAsync();
        throw new Http11KedgeException(host, port);
    }

    private sealed class Http11KedgeException(string host, int port)
        : IOException($"the kedge {host}:{port} speaks no HTTP/2");
}
