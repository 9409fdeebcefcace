using System.Net;
using Kedge.Client.Domain;
using Kedge.Domain;
using Kedge.Winch.Listening;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Net.Http.Headers;
using Yarp.ReverseProxy.Forwarder;
using HttpRequest = Microsoft.AspNetCore.Http.HttpRequest;
using Route = Kedge.Client.Domain.Route;

namespace Kedge.Winch.Proxying;

/// <summary>Serves one request: as one of winch's own pages, through a kedge, or directly.</summary>
/// <param name="states">The configuration.</param>
/// <param name="forwarder">Carries requests and responses.</param>
/// <param name="invoker">Sends the requests.</param>
/// <param name="pages">Serves winch's own pages.</param>
/// <param name="pagesUrl">The URL of these: on the main port, whichever port a request came in on.</param>
/// <param name="metrics">Counts the requests.</param>
/// <param name="credentials">The credentials that clients must present.</param>
/// <param name="corsOrigins">The origins for which winch handles CORS itself.</param>
/// <param name="infoLogs">The header value that asks kedges to log each request; empty = none.</param>
/// <param name="logger">The logger for winch's own responses.</param>
internal sealed class WinchProxy(
    WinchStates states,
    IHttpForwarder forwarder,
    HttpMessageInvoker invoker,
    RequestDelegate pages,
    string pagesUrl,
    WinchMetrics metrics,
    ClientCredentials credentials,
    IReadOnlyList<string> corsOrigins,
    string infoLogs,
    ILogger logger)
{
    // Streams have no time limit: watches, logs and events stay open.
    private static readonly ForwarderRequestConfig Config = new()
    {
        ActivityTimeout = Timeout.InfiniteTimeSpan,
        Version = HttpVersion.Version20,
        VersionPolicy = HttpVersionPolicy.RequestVersionOrLower,
    };

    public async Task HandleAsync(HttpContext context)
    {
        var arrival = context.Features.GetRequiredFeature<Arrival>();
        var request = context.Request;
        var rawTarget = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget;
        if (IsOwnPage(arrival, request, rawTarget))
        {
            await pages(context);
            return;
        }
        var isGrpc = GrpcContent.IsGrpc(request.ContentType);
        var record = new Record(request.Method);
        var error = await ProxyAsync(context, arrival, rawTarget, isGrpc, record);
        if (error is not null)
        {
            metrics.CountError(error.Type);
            logger.LogWarning(
                "{Method} {Authority}: {Type}: {Reason}",
                request.Method,
                record.Authority,
                error.Type,
                error.Reason);
            if (context.Response.HasStarted)
            {
                context.Abort();
            }
            else
            {
                await error.WriteAsync(
                    context,
                    isGrpc,
                    pagesUrl,
                    rawTarget.StartsWith('/') ? $"http://{record.Authority}{rawTarget}" : rawTarget);
            }
        }
        var code = isGrpc ? GrpcCode(context) : context.Response.StatusCode.ToString();
        metrics.Count(record.Route, record.Kedge, isGrpc, code);
        var said =
            error?.Type
            ?? (
                context.Response.Headers["X-Kedge-Error-Type"].ToString() is { Length: > 0 } kedge
                    ? $"kedge: {kedge}"
                    : "");
        metrics.Latest.Add(
            new(
                DateTimeOffset.UtcNow,
                request.Method,
                record.Authority,
                record.Route,
                record.Kedge,
                context.Response.StatusCode,
                said));
    }

    /// <summary>
    /// winch serves its own pages only under the names of this machine: a page of another site, whose name is made to
    /// resolve to 127.0.0.1 (DNS rebinding), reaches none of them.
    /// </summary>
    internal static bool IsOwnPage(Arrival arrival, HttpRequest request, string rawTarget)
    {
        if (!arrival.HasPages || arrival.Tunnel is not null || !rawTarget.StartsWith('/'))
        {
            return false;
        }
        var host = request.Host.Value ?? "";
        return host == $"127.0.0.1:{arrival.Port}"
            || host == $"[::1]:{arrival.Port}"
            || string.Equals(host, $"localhost:{arrival.Port}", StringComparison.OrdinalIgnoreCase)
            || (arrival.Port == 80 && host is "127.0.0.1" or "[::1]" or "localhost");
    }

    private async Task<WinchError?> ProxyAsync(
        HttpContext context, Arrival arrival, string rawTarget, bool isGrpc, Record record)
    {
        var request = context.Request;
        if (arrival.Tunnel is null && !credentials.Permit(request.Headers.ProxyAuthorization))
        {
            return WinchError.ProxyCredentials;
        }
        if (HttpMethods.IsConnect(request.Method) && !IsExtendedConnect(context))
        {
            return WinchError.BadRequest("CONNECT must be the first request of its connection");
        }
        if (
            !TryReadTarget(request, rawTarget, arrival, out var scheme, out var authority, out var path)
            || !Target.TryParse(
                authority,
                arrival.Tunnel?.Port ?? (scheme == Uri.UriSchemeHttps ? 443 : 80),
                out var target))
        {
            return WinchError.BadRequest("the request names no host that can be called");
        }
        record.Authority = authority;
        var state = states.Current;
        var decision = state.Mapper.Decide(isGrpc ? Protocol.Grpc : Protocol.Http, target);
        if (decision is Decision.BadMapping bad)
        {
            record.Route = RouteLabel(bad.route);
            return WinchError.BadMapping($"{target.Authority}: routes[{bad.route.Index}] leads nowhere: {bad.reason}");
        }
        var origin = request.Headers.Origin.ToString();
        var allowedOrigin =
            origin.Length > 0 && corsOrigins.Contains(origin, StringComparer.OrdinalIgnoreCase) ? origin : null;
        Client.KedgeRoute? route = null;
        if (decision is Decision.Kedge mapped)
        {
            record.Route = RouteLabel(mapped.route);
            record.Kedge = mapped.kedge.Host;
            if (mapped.route.RequiresSameSite
                && allowedOrigin is null
                && SameSite.Stranger(request.Headers, HttpMethods.IsGet(request.Method), target, state.Mapper)
                    is { } stranger)
            {
                return WinchError.CrossSite(stranger);
            }
            if (allowedOrigin is not null && IsPreflight(request))
            {
                AnswerPreflight(context, allowedOrigin);
                return null;
            }
            route = state.Routes.RouteTo(mapped.route, mapped.kedge);
        }
        else if (isGrpc || state.Mapper.RefusesUnmapped)
        {
            return WinchError.NotAKedgeDestination(target.Authority);
        }
        if (
            !Uri.TryCreate(
                $"{scheme}://{authority}{path}",
                new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true },
                out var url))
        {
            return WinchError.BadRequest("the request's target is not a URL");
        }
        var transformer = new ProxyTransformer(
            new Journey(route, authority, url, isGrpc),
            route is null ? "" : infoLogs,
            route is null ? null : allowedOrigin);
        var outcome = await forwarder.SendAsync(context, "http://winch", invoker, Config, transformer);
        if (
            outcome
            is ForwarderError.None
                or ForwarderError.RequestCanceled
                or ForwarderError.RequestBodyCanceled
                or ForwarderError.ResponseBodyCanceled
                or ForwarderError.UpgradeRequestCanceled
                or ForwarderError.UpgradeResponseCanceled)
        {
            return null;
        }
        return WinchError.Of(context.Features.Get<IForwarderErrorFeature>()?.Exception, authority);
    }

    private static bool TryReadTarget(
        HttpRequest request,
        string rawTarget,
        Arrival arrival,
        out string scheme,
        out string authority,
        out string path)
    {
        scheme = Uri.UriSchemeHttp;
        authority = request.Host.Value ?? "";
        path = rawTarget;
        if (rawTarget.StartsWith('/'))
        {
            return authority.Length > 0;
        }
        if (rawTarget == "*" || rawTarget.Length == 0)
        {
            // OPTIONS *, and extended CONNECT without a path.
            path = "/";
            return authority.Length > 0;
        }
        var separator = rawTarget.IndexOf("://", StringComparison.Ordinal);
        if (separator < 0 || arrival.Tunnel is not null)
        {
            return false;
        }
        scheme = rawTarget[..separator].ToLowerInvariant() switch
        {
            "https" or "wss" => Uri.UriSchemeHttps,
            "http" or "ws" => Uri.UriSchemeHttp,
            _ => "",
        };
        var rest = rawTarget[(separator + 3)..];
        var end = rest.AsSpan().IndexOfAny('/', '?');
        authority = end < 0 ? rest : rest[..end];
        path = end < 0 ? "/" : rest[end] == '?' ? "/" + rest[end..] : rest[end..];
        // RFC 9112, 3.2.2: the target counts, not the Host header. User names must not reach a proxy.
        return scheme.Length > 0 && !authority.Contains('@');
    }

    private static bool IsExtendedConnect(HttpContext context) =>
        context.Features.Get<IHttpExtendedConnectFeature>() is { IsExtendedConnect: true };

    private static bool IsPreflight(HttpRequest request) =>
        HttpMethods.IsOptions(request.Method) && request.Headers.ContainsKey(HeaderNames.AccessControlRequestMethod);

    private static void AnswerPreflight(HttpContext context, string origin)
    {
        var (asked, answer) = (context.Request.Headers, context.Response.Headers);
        context.Response.StatusCode = StatusCodes.Status204NoContent;
        answer.AccessControlAllowOrigin = origin;
        answer.AccessControlAllowCredentials = "true";
        answer.AccessControlAllowMethods = asked.AccessControlRequestMethod;
        answer.AccessControlAllowHeaders = asked.AccessControlRequestHeaders;
        answer.Vary = "Origin";
    }

    private static string RouteLabel(Route route) => $"{route.Index}";

    private static string GrpcCode(HttpContext context) =>
        context.Response.Headers["grpc-status"].ToString() is { Length: > 0 } header ? header
        : context.Features.Get<IHttpResponseTrailersFeature>()?.Trailers["grpc-status"].ToString()
            is { Length: > 0 } trailer
            ? trailer
        : "unknown";

    private sealed class Record(string method)
    {
        public string Method { get; } = method;

        public string Authority { get; set; } = "";

        public string Route { get; set; } = "none";

        public string Kedge { get; set; } = "none";
    }
}
