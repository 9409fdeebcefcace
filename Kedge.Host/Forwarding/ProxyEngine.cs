using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Backends;
using Kedge.Host.Http;
using Kedge.Host.Kubernetes;
using Kedge.Host.Resolvers;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging.Abstractions;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Host.Forwarding;

/// <summary>Everything between a parsed request and its answer. One for the process.</summary>
public sealed class ProxyEngine : IAsyncDisposable
{
    // How long a request waits for the very first lookup of its backend.
    private static readonly TimeSpan FirstLookupPatience = TimeSpan.FromSeconds(2);

    private readonly ProxySettings _settings;
    private readonly ILogger _logger;
    private readonly ProxyTelemetry _telemetry;
    private readonly ServiceProvider _services;
    private readonly IHttpForwarder _forwarder;
    private readonly BackendRegistry _backends;
    private readonly AdhocTargets _adhoc;
    private readonly HealthPolicy _adhocPolicy;
    private readonly InactivityMonitor _monitor;
    private readonly Lock _applying = new();
    private State _state;

    public ProxyEngine(ProxySettings settings, ProxyTelemetry telemetry, KubernetesCluster cluster, ILoggerFactory loggers)
    {
        _settings = settings;
        _telemetry = telemetry;
        _logger = loggers.CreateLogger("kedge.proxy");
        // The forwarder's log lines are of no use beside kedge's own, and cost time.
        _services = new ServiceCollection()
            .AddSingleton<ILoggerFactory>(NullLoggerFactory.Instance)
            .AddSingleton(typeof(ILogger<>), typeof(NullLogger<>))
            .AddHttpForwarder()
            .BuildServiceProvider();
        _forwarder = _services.GetRequiredService<IHttpForwarder>();
        var dns = new DnsLookup(settings.Nameservers);
        _backends = new BackendRegistry(settings, new ResolverFactory(dns, cluster), telemetry, loggers.CreateLogger("kedge.backends"));
        _adhoc = new AdhocTargets(dns, settings.AdhocAllowLoopback);
        _adhocPolicy = new HealthPolicy(Math.Max(0, settings.FailedTargetBackoff.Ticks), 0, 0, 100, 1, 1);
        _monitor = new InactivityMonitor(settings.MaxReadTimeout, settings.MaxWriteTimeout);
        _state = new State(Configuration.Empty!, [], [], null);
    }

    /// <summary>Who may pass.</summary>
    public required Authorizer Authorizer { get; init; }

    /// <summary>What serves, with the hits of each of its rules.</summary>
    internal State Serving => Volatile.Read(ref _state);

    internal IEnumerable<Backend> LiveBackends => Serving.HttpBackends.Concat(Serving.GrpcBackends);

    /// <summary>
    /// Makes the configuration the current one. Backends that it has in common with the one before live on; exchanges
    /// under way finish on what they started with.
    /// </summary>
    public void Apply(Configuration configuration)
    {
        lock (_applying)
        {
            var (http, grpc) = _backends.Apply(configuration);
            Volatile.Write(ref _state, new State(configuration, http, grpc, _state));
        }
    }

    /// <summary>Answers one request. Never throws.</summary>
    public async Task HandleAsync(HttpContext context, ListenerKind listener)
    {
        var requestId = RequestId.KeepOrMake(context.Request.Headers[LocalReply.RequestIdHeader]);
        var record = _telemetry.Begin(context, requestId);
        Exchange? exchange = null;
        try
        {
            var refusal = RequestView.TryRead(context, listener, out var view);
            record.IsGrpc = view.IsGrpc;
            record.Authority = view.Authority;
            record.Path = view.Path;
            if (refusal is null)
            {
                (refusal, exchange) = await DecideAsync(context, view, Volatile.Read(ref _state), record);
            }
            if (exchange is not null)
            {
                // Not in a method of its own, which would cost each request one more state machine on the heap.
                exchange.Span = Tracing.StartForwarding(record);
                Limit(exchange, context);
                var client = exchange.Client;
                var error = await _forwarder.SendAsync(
                    context,
                    client.DestinationPrefix,
                    exchange,
                    client.ConfigFor(client.IsTls && IsUpgrade(context)),
                    exchange.Transformer,
                    exchange.Cancellation?.Token ?? CancellationToken.None);
                if (error != ForwarderError.None)
                {
                    await FailAsync(context, exchange, error);
                }
            }
            else if (refusal is not null)
            {
                record.Failure = refusal;
                await refusal.WriteAsync(context, record.IsGrpc, requestId, backendName: null);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException && context.RequestAborted.IsCancellationRequested)
        {
            record.CallerLeft = true;
        }
        catch (Exception e)
        {
            _logger.LogError(e, "request {RequestId} failed inside kedge", requestId);
            record.Failure = LocalReply.Internal;
            if (context.Response.HasStarted)
            {
                context.Abort();
            }
            else
            {
                await LocalReply.Internal.WriteAsync(context, record.IsGrpc, requestId, backendName: null);
            }
        }
        finally
        {
            exchange?.End();
            _telemetry.End(record, context);
        }
    }

    public ValueTask DisposeAsync()
    {
        _monitor.Dispose();
        _backends.Dispose();
        return _services.DisposeAsync();
    }

    /// <summary>
    /// What to do with a request: the answer to give, because there is nowhere to go, or the exchange to carry out. Neither:
    /// it has been served. As a rule this completes synchronously, and so allocates nothing but the exchange.
    /// </summary>
    private async ValueTask<(LocalReply?, Exchange?)> DecideAsync(HttpContext context, RequestView view, State state, RequestRecord record)
    {
        RuleHits? hits;
        using (Tracing.StartRouting(record))
        {
            hits = state.Match(view, context.Request.Headers);
        }
        if (hits is null)
        {
            return await DecideAdhocAsync(context, view, state, record);
        }
        _telemetry.Matched(record, hits);
        var route = hits.Info;
        if (await Authorizer.AuthorizeAsync(context, route) is { } refusal)
        {
            return (refusal, null);
        }
        if (route.BackendIndex < 0)
        {
            return (LocalReply.NoBackend(route.BackendName), null);
        }
        var backend = (view.IsGrpc ? state.GrpcBackends : state.HttpBackends)[route.BackendIndex];
        var endpoints = backend.Endpoints;
        if (endpoints.Endpoints.Length == 0)
        {
            if (!backend.FirstOutcome.IsCompleted)
            {
                await Task.WhenAny(backend.FirstOutcome, Task.Delay(FirstLookupPatience, context.RequestAborted));
                endpoints = backend.Endpoints;
            }
            if (endpoints.Endpoints.Length == 0)
            {
                return (LocalReply.NoResolution("backend " + backend.Name), null);
            }
        }
        if (!backend.TryEnter())
        {
            return (LocalReply.TooManyRequests("backend " + backend.Name), null);
        }
        _telemetry.Forwarding(record, backend.Counters, backend.IsGrpc && backend.Info.PrometheusInterceptor);
        var destination = new Destination(backend.Client, endpoints, backend.Policy, backend.Name, backend.NextTicket(), backend);
        return (null, new Exchange(context, view, destination, record, _telemetry, _settings, _logger));
    }

    private async ValueTask<(LocalReply?, Exchange?)> DecideAdhocAsync(HttpContext context, RequestView view, State state, RequestRecord record)
    {
        if (view.IsTunnel && !_settings.HttpConnectEnabled)
        {
            return (LocalReply.ConnectNotSupported, null);
        }
        var noRoute = view.IsGrpc ? LocalReply.NoGrpcRoute : LocalReply.NoRoute;
        var host = view.Host.ToString();
        var decision = host.Length == 0 ? AdhocDecision.NoRule
            : view.IsGrpc ? state.Configuration.DecideGrpcAdhoc(host, view.Ports)
            : state.Configuration.DecideHttpAdhoc(host, view.Ports);
        // Before any answer, so that only callers who may pass learn what there is.
        var rule = state.AdhocRule(view.IsGrpc, decision);
        if (rule is not null)
        {
            _telemetry.Matched(record, rule);
        }
        if (await Authorizer.AuthorizeAsync(context, rule?.Info) is { } unauthorized)
        {
            return (unauthorized, null);
        }
        switch (decision)
        {
            case AdhocDecision.PortNotAllowed refused:
                return (LocalReply.BadRequest($"port {refused.port} is not allowed"), null);
            case AdhocDecision.PatternAbsent:
                return (LocalReply.BadRequest("the name lacks what the ad-hoc rule replaces"), null);
            case AdhocDecision.NotAName:
                return (LocalReply.BadRequest("what the ad-hoc rule makes of the name is no name"), null);
            case AdhocDecision.Target target:
                var found = await _adhoc.ResolveAsync(target.dnsName, target.port).WaitAsync(context.RequestAborted);
                if (found.Refusal is { } kind)
                {
                    return (LocalReply.BadRequest($"the name leads to a {kind} address"), null);
                }
                if (found.Endpoints.Endpoints.Length == 0)
                {
                    return (LocalReply.NoResolution(target.dnsName), null);
                }
                if (view.IsTunnel)
                {
                    return (await Tunnel.ServeAsync(context, found.Endpoints, target.dnsName, _settings.ConnectTimeout), null);
                }
                var destination = new Destination(
                    _backends.PlainClient(view.IsGrpc), found.Endpoints, _adhocPolicy, target.dnsName, _adhoc.NextTicket(), null);
                _telemetry.Forwarding(record, _telemetry.CountersOf(view.IsGrpc, ProxyTelemetry.AdhocBackend), countMethod: false);
                return (null, new Exchange(context, view, destination, record, _telemetry, _settings, _logger));
            default:
                return (noRoute, null);
        }
    }

    /// <summary>Sets what ends an exchange: standing still for HTTP, the caller's deadline for gRPC.</summary>
    private void Limit(Exchange exchange, HttpContext context)
    {
        if (!exchange.IsGrpc)
        {
            exchange.Cancellation = CancellationSources.Rent();
            _monitor.Add(exchange);
        }
        else if (context.Request.Headers.TryGetValue("grpc-timeout", out var timeout)
            && GrpcTimeout.TryParse(timeout.ToString(), out var left))
        {
            exchange.HasDeadline = true;
            exchange.Cancellation = CancellationSources.Rent();
            exchange.Cancellation.CancelAfter(left);
        }
    }

    private static Task FailAsync(HttpContext context, Exchange exchange, ForwarderError error)
    {
        var failure = exchange.DeadlineHasPassed
            ? LocalReply.DeadlineExceeded
            : exchange.Failure ?? FailureOf(error, context);
        var record = exchange.Record;
        if (context.RequestAborted.IsCancellationRequested && exchange.Failure is null && failure != LocalReply.DeadlineExceeded)
        {
            record.CallerLeft = true;
        }
        else
        {
            record.Failure = failure;
            record.Cause = exchange.Cause ?? context.GetForwarderErrorFeature()?.Exception;
        }
        if (ReferenceEquals(failure, LocalReply.BrokenOff))
        {
            exchange.EndpointFailed();
        }
        // When the response has started the forwarder has reset the stream or closed the connection.
        return context.Response.HasStarted || context.RequestAborted.IsCancellationRequested
            ? Task.CompletedTask
            : failure.WriteAsync(context, exchange.IsGrpc, exchange.RequestId, exchange.BackendName);
    }

    /// <summary>Whose fault it was, as far as the forwarder's findings tell.</summary>
    private static LocalReply FailureOf(ForwarderError error, HttpContext context) =>
        error is ForwarderError.RequestBodyClient && HasBadRequest(context.GetForwarderErrorFeature()?.Exception)
            ? LocalReply.BadRequestBody
            : LocalReply.BrokenOff;

    private static bool HasBadRequest(Exception? e) => e switch
    {
        null => false,
        BadHttpRequestException => true,
        // What the server says of trailers whose names or values may not be.
        _ when e.GetType() == typeof(InvalidOperationException) => true,
        AggregateException many => many.InnerExceptions.Any(HasBadRequest),
        _ => HasBadRequest(e.InnerException),
    };

    private static bool IsUpgrade(HttpContext context) =>
        context.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true }
        || context.Features.Get<IHttpExtendedConnectFeature>() is { IsExtendedConnect: true };

    /// <summary>All that a request needs of the configuration; swapped as a whole.</summary>
    internal sealed class State(Configuration configuration, Backend[] http, Backend[] grpc, State? before)
    {
        private readonly HttpRouteTable _httpTable = configuration.HttpRouteTable;
        private readonly GrpcRouteTable _grpcTable = configuration.GrpcRouteTable;

        public RuleHits[] HttpRoutes { get; } = Hits(configuration.HttpRoutes!, before?.HttpRoutes);

        public RuleHits[] GrpcRoutes { get; } = Hits(configuration.GrpcRoutes!, before?.GrpcRoutes);

        public RuleHits[] HttpAdhocRules { get; } = Hits(configuration.HttpAdhocRules!, before?.HttpAdhocRules);

        public RuleHits[] GrpcAdhocRules { get; } = Hits(configuration.GrpcAdhocRules!, before?.GrpcAdhocRules);

        public Configuration Configuration { get; } = configuration;

        public Backend[] HttpBackends { get; } = http;

        public Backend[] GrpcBackends { get; } = grpc;

        /// <summary>The rule that decided; null when none did.</summary>
        public RuleHits? AdhocRule(bool isGrpc, AdhocDecision decision)
        {
            var rule = decision switch
            {
                AdhocDecision.PortNotAllowed refused => refused.rule,
                AdhocDecision.PatternAbsent absent => absent.rule,
                AdhocDecision.NotAName bad => bad.rule,
                AdhocDecision.Target target => target.rule,
                _ => -1,
            };
            return rule < 0 ? null : (isGrpc ? GrpcAdhocRules : HttpAdhocRules)[rule];
        }

        /// <summary>The first route that holds; null when none does, and for tunnels, which are a matter of ad-hoc rules.</summary>
        public RuleHits? Match(in RequestView view, IHeaderDictionary headers)
        {
            if (view.IsTunnel)
            {
                return null;
            }
            var headerView = new HeaderView(headers);
            if (!view.IsGrpc)
            {
                var index = _httpTable.Match(
                    view.Host,
                    view.Ports,
                    view.Path,
                    view.IsForward ? Domain.Decoded.ProxyMode.ForwardProxy : Domain.Decoded.ProxyMode.ReverseProxy,
                    in headerView);
                return index < 0 ? null : HttpRoutes[index];
            }
            else
            {
                var method = view.Path.AsSpan(1);
                var slash = method.LastIndexOf('/');
                var index = _grpcTable.Match(
                    view.Host, view.Ports, slash < 0 ? method : method[..slash], method, in headerView);
                return index < 0 ? null : GrpcRoutes[index];
            }
        }

        /// <summary>A rule that was there before with the same conditions and backend keeps its count.</summary>
        private static RuleHits[] Hits(IReadOnlyList<RouteInfo> rules, RuleHits[]? before)
        {
            before ??= [];
            var result = new RuleHits[rules.Count];
            // Most changes are of few rules among many: what is before and behind them is soon found.
            int first = 0, last = result.Length, lastBefore = before.Length;
            while (first < last && first < lastBefore && IsSame(before[first].Info, rules[first]!))
            {
                result[first] = before[first].For(rules[first]!);
                first++;
            }
            while (last > first && lastBefore > first && IsSame(before[lastBefore - 1].Info, rules[last - 1]!))
            {
                result[--last] = before[--lastBefore].For(rules[last]!);
            }
            var known = new Dictionary<(string, string), Queue<RuleHits>>();
            foreach (var hits in before.AsSpan(first, lastBefore - first))
            {
                var key = (hits.Info.Rule, hits.Info.BackendName);
                if (!known.TryGetValue(key, out var same))
                {
                    known[key] = same = new();
                }
                same.Enqueue(hits);
            }
            for (var i = first; i < last; i++)
            {
                var info = rules[i];
                result[i] = known.TryGetValue((info.Rule, info.BackendName), out var same) && same.TryDequeue(out var hits)
                    ? hits.For(info)
                    : new RuleHits(info);
            }
            return result;
        }

        private static bool IsSame(RouteInfo left, RouteInfo right) => left.Rule == right.Rule && left.BackendName == right.BackendName;
    }
}
