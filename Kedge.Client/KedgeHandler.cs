using System.Collections.Concurrent;
using System.Net;
using Kedge.Client.Connections;
using Kedge.Client.Domain;
using Kedge.Domain;

namespace Kedge.Client;

/// <summary>The settings of a <see cref="KedgeHandler"/>, except the mapping.</summary>
public sealed record KedgeHandlerOptions
{
    /// <summary>The time limit for TCP and TLS to a kedge together.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Whether a response of a kedge itself (not found, not allowed, no backend) is thrown as a
    /// <see cref="KedgeException"/>. Otherwise it is an ordinary response, and <see cref="KedgeError.Of"/> reads it.
    /// </summary>
    public bool ThrowOnKedgeError { get; init; }

    /// <summary>
    /// The HTTP proxy for connections to kedges, such as <c>http://user:password@proxy:3128</c>; null = none.
    /// </summary>
    public Uri? Proxy { get; init; }

    /// <summary>
    /// Kedges to reach without <see cref="Proxy"/>, listed as in <c>NO_PROXY</c>. Loopback is always exempt.
    /// </summary>
    public string ProxyExemptions { get; init; } = "";

    /// <summary>
    /// Receives each attempt to connect to a kedge when it has ended, for example to show which kedges can be reached.
    /// Must return at once and not throw; several attempts may end at the same time.
    /// </summary>
    public Action<KedgeConnection>? OnConnection { get; init; }

    /// <summary>
    /// The handler for hosts that the mapper does not know; null = a <see cref="SocketsHttpHandler"/>.
    /// </summary>
    public HttpMessageHandler? Direct { get; init; }
}

/// <summary>
/// Sends requests for services behind kedges through their kedge, with the credentials of the route, and all others
/// directly. One handler is enough for a process; it pools its connections per kedge. For <see cref="HttpClient"/> and
/// gRPC channels.
/// </summary>
/// <remarks>
/// The request is not changed: the handler sends a copy with the same content. A header <c>X-Kedge-Request-ID</c> is
/// kept, or added.
/// </remarks>
public sealed class KedgeHandler : HttpMessageHandler
{
    internal const string RequestIdHeader = "X-Kedge-Request-ID";

    private readonly IKedgeMapper _mapper;
    private readonly KedgeHandlerOptions _options;
    private readonly HttpMessageInvoker _direct;
    private readonly ConcurrentDictionary<KedgeTls, Lazy<KedgeClient>> _clients = new();
    private readonly KedgeClient _plain;
    private readonly UpstreamProxy? _proxy;

    /// <param name="mapper">Decides which kedge a host is reached through.</param>
    /// <param name="options">The settings; null = the defaults.</param>
    public KedgeHandler(IKedgeMapper mapper, KedgeHandlerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(mapper);
        _mapper = mapper;
        _options = options ?? new();
        _proxy = _options.Proxy is { } proxy
            ? UpstreamProxy.Problem(proxy) is { } problem
                ? throw new ArgumentException($"the proxy's URL {problem}", nameof(options))
                : new(proxy, NoProxy.Parse(_options.ProxyExemptions))
            : null;
        _plain = new(tls: null, _options.ConnectTimeout, _proxy, _options.OnConnection);
        _direct = new(_options.Direct ?? new SocketsHttpHandler
        {
            UseCookies = false,
            ConnectTimeout = _options.ConnectTimeout,
            PooledConnectionLifetime = TimeSpan.FromMinutes(15),
            EnableMultipleHttp2Connections = true,
        });
    }

    /// <inheritdoc/>
    protected override async Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        var uri = request.RequestUri is { IsAbsoluteUri: true } absolute
            ? absolute
            : throw new InvalidOperationException("the request has no absolute URL");
        var authority = request.Headers.Host ?? (uri.IsDefaultPort ? uri.IdnHost : $"{uri.IdnHost}:{uri.Port}");
        if (request.Headers.Host is null && uri.HostNameType == UriHostNameType.IPv6)
        {
            authority = uri.Authority;
        }
        var isGrpc = IsGrpc(request);
        var route = Target.TryParse(authority, uri.Scheme is "https" or "wss" ? 443 : 80, out var target)
            ? _mapper.Map(target.Host, target.Port, isGrpc ? Protocol.Grpc : Protocol.Http)
            : null;
        return route is null
            ? await _direct.SendAsync(request, cancellationToken)
            : await SendAsync(request, route, authority, isGrpc, cancellationToken);
    }

    /// <summary>Sends a request along a route.</summary>
    /// <param name="request">The request; path, query, method, headers and content count.</param>
    /// <param name="route">The route to the service.</param>
    /// <param name="authority">The service as the caller named it, with a port only if the caller gave one.</param>
    /// <param name="isGrpc">Whether it is a gRPC call.</param>
    /// <param name="cancel">Ends the request.</param>
    internal async Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request, KedgeRoute route, string authority, bool isGrpc, CancellationToken cancel)
    {
        if (route.Kedge.Scheme != Uri.UriSchemeHttps && route.HasCredentials)
        {
            throw new ArgumentException($"the route to {route.Kedge} has credentials, which go to https kedges only");
        }
        var proxyToken = await TokenAsync(route.ProxyAuth, cancel);
        var backendToken = await TokenAsync(route.BackendAuth, cancel);
        var response = await AttemptAsync(request, route, authority, isGrpc, proxyToken, backendToken, cancel);
        if (proxyToken is not null && KedgeError.Of(response) is { Type: "unauthorized" } && IsUnauthorized(response))
        {
            // The kedge no longer accepts the token: try a fresh one, once, if the request can be sent again.
            route.ProxyAuth!.Invalidate(proxyToken);
            if (CanRepeat(request.Content))
            {
                var fresh = await TokenAsync(route.ProxyAuth, cancel);
                if (fresh != proxyToken)
                {
                    response.Dispose();
                    response = await AttemptAsync(request, route, authority, isGrpc, fresh, backendToken, cancel);
                }
            }
        }
        response.RequestMessage = request;
        if (_options.ThrowOnKedgeError && KedgeError.Of(response) is { } error)
        {
            var status = response.StatusCode;
            response.Dispose();
            throw new KedgeException(
                KedgeFailure.KedgeAnswered,
                $"the kedge {route.Kedge.Authority} answered for {authority}: {error.Reason}",
                statusCode: status)
            {
                Error = error,
            };
        }
        return response;
    }

    /// <summary>The connections that a route uses.</summary>
    internal KedgeClient ClientOf(KedgeRoute route) =>
        route.Kedge.Scheme == Uri.UriSchemeHttps
            ? _clients
                .GetOrAdd(
                    route.Tls,
                    tls => new(() => new KedgeClient(tls, _options.ConnectTimeout, _proxy, _options.OnConnection)))
                .Value
            : _plain;

    /// <summary>A token for a request; null = no source. Throws if the source has none.</summary>
    internal static async ValueTask<AuthToken?> TokenAsync(ITokenSource? source, CancellationToken cancel)
    {
        if (source is null)
        {
            return null;
        }
        try
        {
            return await source.GetTokenAsync(cancel);
        }
        catch (LoginRequiredException e)
        {
            throw new KedgeException(KedgeFailure.LoginRequired, e.Message, e) { AuthSource = source.Name };
        }
        catch (TokenException e)
        {
            throw new KedgeException(KedgeFailure.AuthSourceFailed, e.Message, e) { AuthSource = source.Name };
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _direct.Dispose();
            _plain.Dispose();
            foreach (var client in _clients.Values)
            {
                client.Value.Dispose();
            }
        }
        base.Dispose(disposing);
    }

    private async Task<HttpResponseMessage> AttemptAsync(
        HttpRequestMessage request,
        KedgeRoute route,
        string authority,
        bool isGrpc,
        AuthToken? proxyToken,
        AuthToken? backendToken,
        CancellationToken cancel)
    {
        // The copy shares the content with the original and is not disposed, because that would dispose the content.
        var copy = Copy(request, route, authority, proxyToken, backendToken);
        using var limit = route.Timeout is { } timeout ? CancellationTokenSource.CreateLinkedTokenSource(cancel) : null;
        limit?.CancelAfter(route.Timeout!.Value);
        try
        {
            return await ClientOf(route).SendAsync(copy, isGrpc, limit?.Token ?? cancel);
        }
        catch (Exception e) when (KedgeClient.Find<KedgeException>(e) is { } known)
        {
            throw known;
        }
        catch (OperationCanceledException e)
            when (!cancel.IsCancellationRequested && e.InnerException is TimeoutException)
        {
            throw KedgeConnector.Unreachable(
                route.Kedge.IdnHost,
                route.Kedge.Port,
                $"no connection within {_options.ConnectTimeout.TotalSeconds:0.#} s",
                e);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested && limit is not null)
        {
            throw new KedgeException(
                KedgeFailure.Timeout,
                $"the kedge {route.Kedge.Authority} did not answer within {route.Timeout!.Value.TotalSeconds:0.#} s",
                e);
        }
        catch (HttpRequestException e)
            when (e.HttpRequestError
                    is HttpRequestError.ConnectionError
                        or HttpRequestError.NameResolutionError
                        or HttpRequestError.SecureConnectionError)
        {
            throw KedgeConnector.Unreachable(
                route.Kedge.IdnHost, route.Kedge.Port, e.InnerException?.Message ?? e.Message, e);
        }
    }

    private static HttpRequestMessage Copy(
        HttpRequestMessage request, KedgeRoute route, string authority, AuthToken? proxyToken, AuthToken? backendToken)
    {
        // http, because the connector does the TLS; the scheme on the wire is the connection's.
        var uri = new UriBuilder(Uri.UriSchemeHttp, route.Kedge.IdnHost, route.Kedge.Port).Uri;
        var copy = new HttpRequestMessage(request.Method, new Uri(uri, request.RequestUri!.PathAndQuery))
        {
            Content = request.Content,
        };
        foreach (var (name, values) in request.Headers.NonValidated)
        {
            copy.Headers.TryAddWithoutValidation(name, values);
        }
        foreach (var (key, value) in request.Options)
        {
            ((IDictionary<string, object?>)copy.Options)[key] = value;
        }
        copy.Headers.Protocol = request.Headers.Protocol;
        copy.Headers.Host = authority;
        foreach (var (name, value) in route.Headers)
        {
            Set(copy, name, value);
        }
        // The caller's credentials for a proxy are not for this one.
        copy.Headers.Remove("Proxy-Authorization");
        if (proxyToken is not null)
        {
            Set(copy, "Proxy-Authorization", proxyToken.Header);
        }
        if (backendToken is not null)
        {
            Set(copy, "Authorization", backendToken.Header);
        }
        if (!copy.Headers.NonValidated.Contains(RequestIdHeader))
        {
            copy.Headers.TryAddWithoutValidation(RequestIdHeader, Guid.NewGuid().ToString());
        }
        return copy;
    }

    private static void Set(HttpRequestMessage request, string name, string value)
    {
        request.Headers.Remove(name);
        request.Headers.TryAddWithoutValidation(name, value);
    }

    private static bool IsGrpc(HttpRequestMessage request) =>
        request.Content is { } content
        && content.Headers.NonValidated.TryGetValues("Content-Type", out var type)
        && GrpcContent.IsGrpc(type.ToString());

    /// <summary>401, or UNAUTHENTICATED in a trailers-only response.</summary>
    private static bool IsUnauthorized(HttpResponseMessage response) =>
        response.StatusCode == HttpStatusCode.Unauthorized
        || (response.Headers.NonValidated.TryGetValues("grpc-status", out var status) && status.ToString() == "16");

    private static bool CanRepeat(HttpContent? content) => content is null or ByteArrayContent or ReadOnlyMemoryContent;
}
