using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Backends;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Flags;
using Kedge.Host.Http;
using Kedge.Host.RateLimits;
using Kedge.Host.Telemetry;
using Listener = Kedge.Domain.Decoded.Listener;

namespace Kedge.Host.Routing;

/// <summary>
/// Decides what to do with a request: matches it against the active configuration, authorizes its caller, and finds the
/// endpoints of its destination. One per process.
/// </summary>
public sealed class RequestRouter : IDisposable
{
    // How long a request waits for the very first lookup of its backend.
    private static readonly TimeSpan FirstLookupTimeout = TimeSpan.FromSeconds(2);

    private readonly ForwardingOptions _options;
    private readonly Authorizer _authorizer;
    private readonly BackendRegistry _backends;
    private readonly AdhocTargets _adhoc;
    private readonly HealthPolicy _adhocPolicy;
    private readonly ProxyTelemetry _telemetry;
    private readonly Lock _applying = new();
    private readonly ClientAddresses _clients;
    private readonly LocalReply _noRoute;
    private readonly RouteAnswer? _plainDefault;
    private readonly RateLimiter _limiter;
    private ServingState _state;

    internal RequestRouter(
        ForwardingOptions options,
        Authorizer authorizer,
        BackendRegistry backends,
        AdhocTargets adhoc,
        RateLimiter limiter,
        ProxyTelemetry telemetry)
    {
        _options = options;
        _authorizer = authorizer;
        _backends = backends;
        _adhoc = adhoc;
        _adhocPolicy = HealthPolicy.ConnectBackoffOnly(options.FailedTargetBackoff);
        _limiter = limiter;
        _telemetry = telemetry;
        _clients = new(options.TrustedProxies);
        _state = new(
            Configuration.Empty,
            PerProtocol.Both<Backend[]>([]),
            PerProtocol.Both<RouteLimiter?[]>([]),
            PerProtocol.Both<RouteSplitter?[]>([]),
            PerProtocol.Both<RouteMirrors?[]>([]),
            authorizer.Apply(Configuration.Empty),
            previous: null);
        _noRoute = LocalReply.NoRoute with { HttpStatus = options.NoRouteStatus };
        _plainDefault = options.PlainDefault.Redirect is { Value: var redirect }
            ? RouteAnswer.Of(RouteAction.NewRedirects(redirect), new Dictionary<string, byte[]>())
            : null;
    }

    /// <summary>The active configuration, with its live backends and the hits of its rules.</summary>
    internal ServingState Serving => Volatile.Read(ref _state);

    /// <summary>The rate limits of the routes.</summary>
    internal RateLimiter Limiter => _limiter;

    /// <summary>The connections to backends.</summary>
    internal IEnumerable<UpstreamClient> Clients => _backends.Clients.All;

    /// <summary>How many ad-hoc names are being looked up.</summary>
    public int AdhocLookups => _adhoc.Running;

    /// <summary>How many ad-hoc names are cached with their addresses.</summary>
    public int AdhocAnswers => _adhoc.Kept;

    internal IEnumerable<Backend> LiveBackends => Serving.Backends.Http.Concat(Serving.Backends.Grpc);

    /// <summary>
    /// Activates a configuration. Backends that do not change are kept. Requests in flight finish with the state that
    /// they started with.
    /// </summary>
    public void Apply(Configuration configuration)
    {
        lock (_applying)
        {
            var next = new ServingState(
                configuration,
                _backends.Apply(configuration),
                _limiter.Apply(configuration),
                PerProtocol.Init(protocol => SplittersOf(configuration, protocol)),
                PerProtocol.Init(protocol => MirrorsOf(configuration, protocol)),
                _authorizer.Apply(configuration),
                _state);
            BackendSuccession.Arrange(_state, next);
            Volatile.Write(ref _state, next);
        }
    }

    private RouteSplitter?[] SplittersOf(Configuration configuration, Protocol protocol) =>
        [
            .. configuration.Routes[protocol].Select(
                route => route.Split is null ? null : new RouteSplitter(protocol, route, _telemetry)),
        ];

    private RouteMirrors?[] MirrorsOf(Configuration configuration, Protocol protocol) =>
        [
            .. configuration.Routes[protocol].Select(
                route => route.Mirrors is null ? null : new RouteMirrors(protocol, route, _telemetry)),
        ];

    public void Dispose() => _backends.Dispose();

    /// <summary>
    /// Routes a request: match → authorize → destination. Usually completes synchronously, and then allocates nothing.
    /// </summary>
    internal async ValueTask<RoutingResult> RouteAsync(HttpContext context, RequestView view, RequestRecord record)
    {
        if (view.IsTunnel && !_options.HttpConnectEnabled)
        {
            return LocalReply.ConnectNotSupported;
        }
        var state = Serving;
        RuleMatch match;
        state.Remember(record, view, context.Request.Headers);
        using (Tracing.StartRouting(record))
        {
            if (!state.TryMatch(view, context.Request.Headers, out match))
            {
                return LocalReply.AmbiguousParameters;
            }
        }
        if (match.Rule is { } rule)
        {
            _telemetry.Matched(record, rule);
        }
        var answer = match is { Rule.Info: { } taken, Adhoc: null } ? state.Answers[view.Protocol][taken.Index] : null;
        if (view.Listener == Listener.Plain && match.Rule is null)
        {
            return PlainDefault(view, record);
        }
        // First of all: a caller in the wrong network must cost nothing more, such as the verification of a token.
        var address = match.Rule is { Info.Demands: var demands } && Access.AddressMatters(demands)
            ? _clients.Of(context)
            : null;
        if (match.Rule is { Info.Demands: var networks } && !Access.AdmitsAddress(networks, address))
        {
            return LocalReply.WrongNetwork;
        }
        var limiter = match is { Rule.Info: { Limits: not null } limited, Adhoc: null }
            ? state.Limits[view.Protocol][limited.Index]
            : null;
        // A flood of requests must not cause a flood of token verifications.
        if (limiter?.AskBeforeToken(context, view, record) is { } early)
        {
            return early;
        }
        // kedge's own answers in clear text are for everyone: a token for them would already have been sent in the
        // clear.
        var isForEveryone = answer is not null
            && view.Listener == Listener.Plain
            && ReferenceEquals(match.Rule?.Info.Demands, RouteDemands.None);
        // Before any other reply, so that only authorized callers learn what exists.
        if (!isForEveryone
            && await _authorizer.AuthorizeAsync(context, match.Rule?.Info, state.Issuers, address) is { } refusal)
        {
            return refusal;
        }
        if (limiter?.AskAfterToken(context, view, record) is { } late)
        {
            return late;
        }
        if (answer is not null)
        {
            return Answer(answer, view, record);
        }
        return match switch
        {
            { Adhoc: { } decision } => await ToAdhocTargetAsync(decision, state, view, record, context),
            { Rule.Info: { Split: not null } split } => await ToOneBackendAsync(split, state, view, record, context),
            { Rule: { } route } => await ToBackendAsync(
                route.Info, route.Info.BackendIndex, route.Info.Filters, state, view, record, context),
            _ => view.Protocol.IsGrpc ? LocalReply.NoGrpcRoute : _noRoute,
        };
    }

    private RoutingResult Answer(RouteAnswer answer, in RequestView view, RequestRecord record)
    {
        ProxyTelemetry.Answering(record, _telemetry.CountersOf(view.Protocol, answer.Kind));
        return answer.To(view);
    }

    /// <summary>What the plain port does with a request that matches no route.</summary>
    private RoutingResult PlainDefault(in RequestView view, RequestRecord record) =>
        view.Protocol.IsGrpc ? LocalReply.NoGrpcRoute
        : _plainDefault is null || view.Host.Length == 0 || view.IsTunnel ? _noRoute
        : Answer(_plainDefault, view, record);

    /// <summary>Routes a request to one of the backends of a route with several.</summary>
    private async ValueTask<RoutingResult> ToOneBackendAsync(
        RouteInfo route, ServingState state, RequestView view, RequestRecord record, HttpContext context)
    {
        var splitter = state.Splitters[record.Protocol][route.Index]!;
        var choice = await splitter.ChooseAsync(
            context, view, record, _clients, state.Backends[record.Protocol], WaitForLookupAsync);
        return await ToBackendAsync(
            route, splitter.BackendIndexOf(choice), splitter.FiltersOf(choice), state, view, record, context);
    }

    private static Task WaitForLookupAsync(Backend backend, CancellationToken cancel) =>
        Task.WhenAny(backend.FirstOutcome, Task.Delay(FirstLookupTimeout, cancel));

    private async ValueTask<RoutingResult> ToBackendAsync(
        RouteInfo route,
        int backendIndex,
        Filters? filters,
        ServingState state,
        RequestView view,
        RequestRecord record,
        HttpContext context)
    {
        string? path = null;
        if (filters is not null)
        {
            path = filters.Forth(view.Path);
            if (path.Length + view.Query.Length > _options.MaxTarget)
            {
                return LocalReply.RewrittenTooLong;
            }
        }
        if (backendIndex < 0)
        {
            return LocalReply.NoBackend(record.BackendName);
        }
        var backend = state.Backends[record.Protocol][backendIndex];
        if (backend.Endpoints.Endpoints.Length == 0 && !backend.FirstOutcome.IsCompleted)
        {
            await WaitForLookupAsync(backend, context.RequestAborted);
        }
        var endpoints = backend.Endpoints;
        if (endpoints.Endpoints.Length == 0)
        {
            return LocalReply.NoResolution("backend " + backend.Name);
        }
        if (!backend.TryEnter())
        {
            return LocalReply.TooManyRequests("backend " + backend.Name);
        }
        _telemetry.Forwarding(record, backend.Counters, backend.Protocol.IsGrpc && backend.Info.PrometheusInterceptor);
        return RoutingResult.Forward(
            new(backend.Client, endpoints, backend.Policy, backend.Name, backend.NextTicket(), backend)
            {
                Filters = filters,
                Policies = route.Policies,
                Path = path,
                Claims = state.Issuers.Forwarded,
                Mirrors = route.Mirrors is null
                    ? null
                    : state.Mirrors[record.Protocol][route.Index]!.Choose(
                        context, view, _clients, state.Backends[record.Protocol]),
            });
    }

    private async ValueTask<RoutingResult> ToAdhocTargetAsync(
        AdhocDecision decision, ServingState state, RequestView view, RequestRecord record, HttpContext context)
    {
        switch (decision)
        {
            case AdhocDecision.PortNotAllowed refused:
                return LocalReply.BadRequest($"port {refused.port} is not allowed");
            case AdhocDecision.PatternAbsent:
                return LocalReply.BadRequest("the name does not contain the pattern that the ad-hoc rule replaces");
            case AdhocDecision.NotAName:
                return LocalReply.BadRequest("the ad-hoc rule turns the name into one that is not valid");
            case AdhocDecision.Target target:
                var found = await _adhoc.ResolveAsync(
                    target.dnsName, target.port, context.Features.Get<ConnectionLookups>(), context.RequestAborted);
                if (found is null)
                {
                    return LocalReply.TooManyLookups;
                }
                if (found.Refusal is { } reason)
                {
                    return LocalReply.BadRequest(reason);
                }
                if (found.Endpoints.Endpoints.Length == 0)
                {
                    return LocalReply.NoResolution(target.dnsName);
                }
                var destination = new Destination(
                    _backends.Clients.Plain(view.Protocol),
                    found.Endpoints,
                    _adhocPolicy,
                    target.dnsName,
                    _adhoc.NextTicket(),
                    Backend: null)
                {
                    Claims = state.Issuers.Forwarded,
                };
                if (view.IsTunnel)
                {
                    return RoutingResult.Tunnel(destination);
                }
                _telemetry.Forwarding(
                    record, _telemetry.CountersOf(view.Protocol, ProxyTelemetry.AdhocBackend), countMethod: false);
                return RoutingResult.Forward(destination);
            default:
                throw new InvalidOperationException($"no destination for {decision}");
        }
    }
}
