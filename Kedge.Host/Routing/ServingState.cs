using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using ProxyMode = Kedge.Domain.Decoded.ProxyMode;

namespace Kedge.Host.Routing;

/// <summary>
/// What requests need of a configuration: its rules with their hits, and its live backends. Replaced as a whole.
/// </summary>
/// <param name="configuration">The configuration that is active from now on.</param>
/// <param name="http">Its HTTP backends, in its order.</param>
/// <param name="grpc">Its gRPC backends, in its order.</param>
/// <param name="previous">The state that it replaces, whose hits are kept; null for the first.</param>
internal sealed class ServingState(Configuration configuration, Backend[] http, Backend[] grpc, ServingState? previous)
{
    private readonly HttpRouteTable _httpTable = configuration.HttpRouteTable;
    private readonly GrpcRouteTable _grpcTable = configuration.GrpcRouteTable;

    public RuleHits[] HttpRoutes { get; } = RuleHits.Of(configuration.HttpRoutes!, previous?.HttpRoutes);

    public RuleHits[] GrpcRoutes { get; } = RuleHits.Of(configuration.GrpcRoutes!, previous?.GrpcRoutes);

    public RuleHits[] HttpAdhocRules { get; } = RuleHits.Of(configuration.HttpAdhocRules!, previous?.HttpAdhocRules);

    public RuleHits[] GrpcAdhocRules { get; } = RuleHits.Of(configuration.GrpcAdhocRules!, previous?.GrpcAdhocRules);

    public Backend[] HttpBackends { get; } = http;

    public Backend[] GrpcBackends { get; } = grpc;

    /// <summary>The backend of a route of the same protocol.</summary>
    /// <param name="index">The index that the route has for it; not negative.</param>
    public Backend BackendOf(bool isGrpc, int index) => (isGrpc ? GrpcBackends : HttpBackends)[index];

    /// <summary>
    /// Matches a request against the routes and, when none matches, against the ad-hoc rules. Tunnels are matched
    /// against the ad-hoc rules only.
    /// </summary>
    /// <returns>False when the path parameters of the request decide which rule takes it.</returns>
    public bool TryMatch(in RequestView view, IHeaderDictionary headers, out RuleMatch match)
    {
        RuleHits? route = null;
        match = RuleMatch.None;
        if (!view.IsTunnel)
        {
            if (view.IsGrpc)
            {
                route = MatchGrpc(view, headers);
            }
            else if (!TryMatchHttp(view, headers, out route))
            {
                return false;
            }
        }
        match = route is null ? MatchAdhoc(view) : RuleMatch.Route(route);
        return true;
    }

    private bool TryMatchHttp(in RequestView view, IHeaderDictionary headers, out RuleHits? route)
    {
        var headerView = new HeaderView(headers);
        var mode = view.IsForward ? ProxyMode.ForwardProxy : ProxyMode.ReverseProxy;
        var isClear = _httpTable.TryMatch(view.Host, view.Ports, view.Path, mode, in headerView, out var index);
        route = index < 0 ? null : HttpRoutes[index];
        return isClear;
    }

    private RuleHits? MatchGrpc(in RequestView view, IHeaderDictionary headers)
    {
        var headerView = new HeaderView(headers);
        var method = view.Path.AsSpan(1);
        var slash = method.LastIndexOf('/');
        var service = slash < 0 ? method : method[..slash];
        var index = _grpcTable.Match(view.Host, view.Ports, service, method, in headerView);
        return index < 0 ? null : GrpcRoutes[index];
    }

    private RuleMatch MatchAdhoc(in RequestView view)
    {
        if (view.Host.Length == 0)
        {
            return RuleMatch.None;
        }
        var host = view.Host.ToString();
        var decision = view.IsGrpc
            ? configuration.DecideGrpcAdhoc(host, view.Ports)
            : configuration.DecideHttpAdhoc(host, view.Ports);
        var rule = decision switch
        {
            AdhocDecision.PortNotAllowed refused => refused.rule,
            AdhocDecision.PatternAbsent absent => absent.rule,
            AdhocDecision.NotAName invalid => invalid.rule,
            AdhocDecision.Target target => target.rule,
            _ => -1,
        };
        return rule < 0 ? RuleMatch.None : new((view.IsGrpc ? GrpcAdhocRules : HttpAdhocRules)[rule], decision);
    }
}
