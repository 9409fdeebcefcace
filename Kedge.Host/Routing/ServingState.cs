using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Backends;
using Kedge.Host.Http;
using Kedge.Host.RateLimits;
using Kedge.Host.Telemetry;
using Listener = Kedge.Domain.Decoded.Listener;

namespace Kedge.Host.Routing;

/// <summary>
/// What requests need from a configuration: its rules with their hits, and its live backends. Replaced as a whole.
/// </summary>
/// <param name="configuration">The configuration that is active from now on.</param>
/// <param name="backends">Its backends, in its order.</param>
/// <param name="limits">
/// The rate limits of each route, in the order of the routes; null for a route without limits.
/// </param>
/// <param name="splitters">
/// What chooses among the backends of each route, in the same order; null for a route with one or none.
/// </param>
/// <param name="mirrors">
/// What chooses the requests to copy, in the same order; null for a route without mirrors.
/// </param>
/// <param name="issuers">The issuers whose tokens its routes accept.</param>
/// <param name="previous">The state that this one replaces, whose hits are kept; null for the first.</param>
internal sealed class ServingState(
    Configuration configuration,
    PerProtocol<Backend[]> backends,
    PerProtocol<RouteLimiter?[]> limits,
    PerProtocol<RouteSplitter?[]> splitters,
    PerProtocol<RouteMirrors?[]> mirrors,
    ActiveIssuers issuers,
    ServingState? previous)
{
    private readonly HttpRouteTable _httpTable = configuration.HttpRouteTable;
    private readonly GrpcRouteTable _grpcTable = configuration.GrpcRouteTable;

    private readonly WeakReference<Configuration> _configuration = new(configuration);

    public PerProtocol<RuleHits[]> Routes { get; } = PerProtocol.Init(
        protocol => RuleHits.Of(configuration.Routes[protocol], previous?.Routes[protocol]));

    public PerProtocol<RuleHits[]> AdhocRules { get; } = PerProtocol.Init(
        protocol => RuleHits.Of(configuration.AdhocRules[protocol], previous?.AdhocRules[protocol]));

    public PerProtocol<Backend[]> Backends => backends;

    public PerProtocol<RouteLimiter?[]> Limits => limits;

    public PerProtocol<RouteSplitter?[]> Splitters => splitters;

    public PerProtocol<RouteMirrors?[]> Mirrors => mirrors;

    public ActiveIssuers Issuers => issuers;

    /// <summary>Each route's own answer, in the order of the routes; null for a route that forwards.</summary>
    public PerProtocol<RouteAnswer?[]> Answers { get; } = PerProtocol.Init(
        protocol => configuration.Routes[protocol]
            .Select(route => RouteAnswer.Of(route.Action, configuration.Files.Bodies))
            .ToArray());

    /// <summary>Records what it takes to explain the request later.</summary>
    public void Remember(RequestRecord record, in RequestView view, IHeaderDictionary headers) =>
        record.Matching(_configuration, configuration.MatchedNames, view, headers);

    /// <summary>
    /// Matches a request against the routes and, when none matches, against the ad-hoc rules. Tunnels are matched
    /// against the ad-hoc rules only.
    /// </summary>
    /// <returns>False when the path parameters of the request decide which rule matches it.</returns>
    public bool TryMatch(in RequestView view, IHeaderDictionary headers, out RuleMatch match)
    {
        RuleHits? route = null;
        match = RuleMatch.None;
        if (!view.IsTunnel)
        {
            if (view.Protocol.IsGrpc)
            {
                route = MatchGrpc(view, headers);
            }
            else if (!TryMatchHttp(view, headers, out route))
            {
                return false;
            }
        }
        // Ad-hoc rules apply only on the TLS listeners.
        match = route is not null ? RuleMatch.Route(route)
            : view.Listener == Listener.Tls ? MatchAdhoc(view)
            : RuleMatch.None;
        return true;
    }

    private bool TryMatchHttp(in RequestView view, IHeaderDictionary headers, out RuleHits? route)
    {
        var headerView = new HeaderView(headers);
        var isClear = _httpTable.TryMatch(
            view.Method,
            view.Host,
            view.Ports,
            view.Path,
            view.BareQuery,
            view.Mode,
            view.Listener,
            in headerView,
            out var index);
        route = index < 0 ? null : Routes.Http[index];
        return isClear;
    }

    private RuleHits? MatchGrpc(in RequestView view, IHeaderDictionary headers)
    {
        var headerView = new HeaderView(headers);
        var method = view.Path.AsSpan(1);
        var slash = method.LastIndexOf('/');
        var service = slash < 0 ? method : method[..slash];
        var index = _grpcTable.Match(view.Host, view.Ports, service, method, view.Listener, in headerView);
        return index < 0 ? null : Routes.Grpc[index];
    }

    private RuleMatch MatchAdhoc(in RequestView view)
    {
        if (view.Host.Length == 0)
        {
            return RuleMatch.None;
        }
        var host = view.Host.ToString();
        var decision = configuration.DecideAdhoc(view.Protocol, host, view.Ports);
        var rule = decision switch
        {
            AdhocDecision.PortNotAllowed refused => refused.rule,
            AdhocDecision.PatternAbsent absent => absent.rule,
            AdhocDecision.NotAName invalid => invalid.rule,
            AdhocDecision.Target target => target.rule,
            _ => -1,
        };
        return rule < 0 ? RuleMatch.None : new(AdhocRules[view.Protocol][rule], decision);
    }
}
