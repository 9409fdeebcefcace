using System.Net;
using System.Text;
using Kedge.Client;
using Kedge.Client.Connections;

namespace Kedge.Winch.Proxying;

/// <summary>Sends a request along its journey: to its kedge, or directly to its target without credentials.</summary>
internal sealed class JourneyHandler : HttpMessageHandler
{
    private readonly KedgeHandler _kedges;
    private readonly HttpMessageInvoker _direct;
    private readonly UpstreamProxy? _upstream;

    /// <param name="kedges">The handler for mapped hosts.</param>
    /// <param name="dialer">The dialer for all other hosts.</param>
    public JourneyHandler(KedgeHandler kedges, DirectDialer dialer)
    {
        _kedges = kedges;
        _upstream = dialer.Upstream;
        _direct = new(new SocketsHttpHandler
        {
            UseProxy = _upstream is not null,
            Proxy = _upstream is null ? null : new UpstreamWebProxy(_upstream),
            UseCookies = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ActivityHeadersPropagator = null,
            ConnectTimeout = TimeSpan.FromSeconds(5),
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(90),
            RequestHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ResponseHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ConnectCallback = async (context, cancel) =>
            {
                var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
                // An http request through the upstream proxy has the proxy as its endpoint.
                return context.InitialRequestMessage.RequestUri!.Scheme == Uri.UriSchemeHttps
                    ? await dialer.ConnectAsync(host, port, cancel)
                    : await dialer.DialAsync(host, port, cancel);
            },
        });
    }

    protected override Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request,
        CancellationToken cancellationToken)
    {
        request.Options.TryGetValue(Journey.Option, out var journey);
        if (journey!.Route is { } route)
        {
            return _kedges.SendAsync(request, route, journey.Authority, journey.IsGrpc, cancellationToken);
        }
        // Clear-text targets speak HTTP/1.1.
        request.Version = HttpVersion.Version11;
        request.VersionPolicy = HttpVersionPolicy.RequestVersionOrLower;
        if (request.RequestUri is { Scheme: "http" } url
            && _upstream is { Authorization: { } credentials }
            && _upstream.Serves(url.IdnHost, url.Port))
        {
            request.Headers.TryAddWithoutValidation("Proxy-Authorization", credentials);
        }
        return _upstream is null
            ? _direct.SendAsync(request, cancellationToken)
            : ThroughProxyAsync(request, _upstream, cancellationToken);
    }

    /// <summary>
    /// A challenge of the upstream proxy is an error here: clients have at most credentials for winch.
    /// </summary>
    private async Task<HttpResponseMessage> ThroughProxyAsync(
        HttpRequestMessage request, UpstreamProxy upstream, CancellationToken cancel)
    {
        var response = await _direct.SendAsync(request, cancel);
        if (response.StatusCode != HttpStatusCode.ProxyAuthenticationRequired)
        {
            return response;
        }
        response.Dispose();
        throw new IOException($"the proxy {upstream.Address.Authority} does not take the credentials (407)");
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _direct.Dispose();
            _kedges.Dispose();
        }
        base.Dispose(disposing);
    }
}
