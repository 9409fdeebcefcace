using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Backends.Resolvers;
using Kedge.Host.Routing;
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
    private readonly ServiceProvider _services;
    private readonly IHttpForwarder _forwarder;
    private readonly BackendRegistry _backends;
    private readonly AdhocTargets _adhoc;
    private readonly HealthPolicy _adhocPolicy;
    private readonly InactivityMonitor _monitor;
    private readonly Lock _applying = new();
    private State _state;

    public ProxyEngine(ProxySettings settings, ILoggerFactory loggers)
    {
        _settings = settings;
        _logger = loggers.CreateLogger("kedge.proxy");
        // The forwarder's log lines are of no use beside kedge's own, and cost time.
        _services = new ServiceCollection()
            .AddSingleton<ILoggerFactory>(NullLoggerFactory.Instance)
            .AddSingleton(typeof(ILogger<>), typeof(NullLogger<>))
            .AddHttpForwarder()
            .BuildServiceProvider();
        _forwarder = _services.GetRequiredService<IHttpForwarder>();
        var dns = new DnsLookup(settings.Nameservers);
        _backends = new BackendRegistry(settings, dns, loggers.CreateLogger("kedge.backends"));
        _adhoc = new AdhocTargets(dns, settings.AdhocAllowLoopback);
        _adhocPolicy = new HealthPolicy(Math.Max(0, settings.FailedTargetBackoff.Ticks), 0, 0, 100, 1, 1);
        _monitor = new InactivityMonitor(settings.MaxReadTimeout, settings.MaxWriteTimeout);
        _state = new State(Configuration.Empty!, [], []);
    }

    /// <summary>Who may pass.</summary>
    public required IAuthorizer Authorizer { get; init; }

    public Configuration Current => Volatile.Read(ref _state).Configuration;

    /// <summary>
    /// Makes the configuration the current one. Backends that it has in common with the one before live on; exchanges
    /// under way finish on what they started with.
    /// </summary>
    public void Apply(Configuration configuration)
    {
        lock (_applying)
        {
            var (http, grpc) = _backends.Apply(configuration);
            Volatile.Write(ref _state, new State(configuration, http, grpc));
        }
    }

    /// <summary>Answers one request. Never throws.</summary>
    public async Task HandleAsync(HttpContext context, ListenerKind listener)
    {
        var requestId = RequestId.KeepOrMake(context.Request.Headers[Answer.RequestIdHeader]);
        var isGrpc = false;
        try
        {
            var refusal = RequestView.TryRead(context, listener, out var view);
            isGrpc = view.IsGrpc;
            if (refusal is null)
            {
                refusal = await ServeAsync(context, view, Volatile.Read(ref _state), requestId);
            }
            if (refusal is not null)
            {
                await refusal.WriteAsync(context, isGrpc, requestId, backendName: null);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException && context.RequestAborted.IsCancellationRequested)
        {
            // The caller has gone.
        }
        catch (Exception e)
        {
            _logger.LogError(e, "request {RequestId} failed inside kedge", requestId);
            if (context.Response.HasStarted)
            {
                context.Abort();
            }
            else
            {
                await Answer.Internal.WriteAsync(context, isGrpc, requestId, backendName: null);
            }
        }
    }

    public ValueTask DisposeAsync()
    {
        _monitor.Dispose();
        _backends.Dispose();
        return _services.DisposeAsync();
    }

    /// <summary>Routes and forwards. Not null: the answer to give, because there is nowhere to go.</summary>
    private async ValueTask<Answer?> ServeAsync(HttpContext context, RequestView view, State state, string requestId)
    {
        var route = state.Match(view, context.Request.Headers);
        if (route is null)
        {
            return await ServeAdhocAsync(context, view, state, requestId);
        }
        if (await Authorizer.AuthorizeAsync(context, route) is { } refusal)
        {
            return refusal;
        }
        if (route.BackendIndex < 0)
        {
            return Answer.NoBackend(route.BackendName);
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
                return Answer.NoResolution("backend " + backend.Name);
            }
        }
        if (!backend.TryEnter())
        {
            return Answer.TooManyRequests("backend " + backend.Name);
        }
        try
        {
            var destination = new Destination(
                backend.Client, endpoints, backend.Policy, backend.Name, backend.Name, backend.NextTicket());
            await ForwardAsync(context, new Exchange(context, view, destination, requestId, _settings, _logger));
        }
        finally
        {
            backend.Leave();
        }
        return null;
    }

    private async ValueTask<Answer?> ServeAdhocAsync(HttpContext context, RequestView view, State state, string requestId)
    {
        var noRoute = view.IsGrpc ? Answer.NoGrpcRoute : Answer.NoRoute;
        var host = view.Host.ToString();
        var decision = host.Length == 0 ? AdhocDecision.NoRule
            : view.IsGrpc ? state.Configuration.DecideGrpcAdhoc(host, view.Ports)
            : state.Configuration.DecideHttpAdhoc(host, view.Ports);
        // Before any answer, so that only callers who may pass learn what there is.
        if (await Authorizer.AuthorizeAsync(context, state.AdhocRule(view.IsGrpc, decision)) is { } unauthorized)
        {
            return unauthorized;
        }
        switch (decision)
        {
            case AdhocDecision.PortNotAllowed refused:
                return Answer.BadRequest($"port {refused.port} is not allowed");
            case AdhocDecision.PatternAbsent:
                return Answer.BadRequest("the name lacks what the ad-hoc rule replaces");
            case AdhocDecision.NotAName:
                return Answer.BadRequest("what the ad-hoc rule makes of the name is no name");
            case AdhocDecision.Target target:
                var found = await _adhoc.ResolveAsync(target.dnsName, target.port).WaitAsync(context.RequestAborted);
                if (found.Refusal is { } kind)
                {
                    return Answer.BadRequest($"the name leads to a {kind} address");
                }
                if (found.Endpoints.Endpoints.Length == 0)
                {
                    return Answer.NoResolution(target.dnsName);
                }
                var destination = new Destination(
                    _backends.PlainClient(view.IsGrpc), found.Endpoints, _adhocPolicy, target.dnsName, null, _adhoc.NextTicket());
                await ForwardAsync(context, new Exchange(context, view, destination, requestId, _settings, _logger));
                return null;
            default:
                return noRoute;
        }
    }

    private async Task ForwardAsync(HttpContext context, Exchange exchange)
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
        try
        {
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
                var failure = exchange.DeadlineHasPassed
                    ? Answer.DeadlineExceeded
                    : exchange.Failure ?? FailureOf(error, context);
                await FailAsync(context, exchange, failure);
            }
        }
        finally
        {
            exchange.End();
        }
    }

    private Task FailAsync(HttpContext context, Exchange exchange, Answer failure)
    {
        if (_logger.IsEnabled(LogLevel.Debug))
        {
            _logger.LogDebug(
                context.GetForwarderErrorFeature()?.Exception,
                "request {RequestId} to {Backend} at {Endpoint}: {Type}",
                exchange.RequestId,
                exchange.BackendName,
                exchange.Endpoint,
                failure.Type);
        }
        // When the response has started the forwarder has reset the stream or closed the connection.
        return context.Response.HasStarted || context.RequestAborted.IsCancellationRequested
            ? Task.CompletedTask
            : failure.WriteAsync(context, exchange.IsGrpc, exchange.RequestId, exchange.BackendName);
    }

    /// <summary>Whose fault it was, as far as the forwarder's findings tell.</summary>
    private static Answer FailureOf(ForwarderError error, HttpContext context) =>
        error is ForwarderError.RequestBodyClient && HasBadRequest(context.GetForwarderErrorFeature()?.Exception)
            ? Answer.BadRequestBody
            : Answer.BrokenOff;

    private static bool HasBadRequest(Exception? e) => e switch
    {
        null => false,
        BadHttpRequestException => true,
        AggregateException many => many.InnerExceptions.Any(HasBadRequest),
        _ => HasBadRequest(e.InnerException),
    };

    private static bool IsUpgrade(HttpContext context) =>
        context.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true }
        || context.Features.Get<IHttpExtendedConnectFeature>() is { IsExtendedConnect: true };

    /// <summary>All that a request needs of the configuration; swapped as a whole.</summary>
    private sealed class State(Configuration configuration, Backend[] http, Backend[] grpc)
    {
        private readonly HttpRouteTable _httpTable = configuration.HttpRouteTable;
        private readonly GrpcRouteTable _grpcTable = configuration.GrpcRouteTable;
        private readonly RouteInfo[] _httpRoutes = [.. configuration.HttpRoutes!];
        private readonly RouteInfo[] _grpcRoutes = [.. configuration.GrpcRoutes!];

        public Configuration Configuration { get; } = configuration;

        public Backend[] HttpBackends { get; } = http;

        public Backend[] GrpcBackends { get; } = grpc;

        /// <summary>The rule that decided; null when none did.</summary>
        public RouteInfo? AdhocRule(bool isGrpc, AdhocDecision decision)
        {
            var rule = decision switch
            {
                AdhocDecision.PortNotAllowed refused => refused.rule,
                AdhocDecision.PatternAbsent absent => absent.rule,
                AdhocDecision.NotAName bad => bad.rule,
                AdhocDecision.Target target => target.rule,
                _ => -1,
            };
            return rule < 0 ? null : (isGrpc ? Configuration.GrpcAdhocRules! : Configuration.HttpAdhocRules!)[rule];
        }

        /// <summary>The first route that holds; null when none does.</summary>
        public RouteInfo? Match(in RequestView view, IHeaderDictionary headers)
        {
            var headerView = new HeaderView(headers);
            if (!view.IsGrpc)
            {
                var index = _httpTable.Match(
                    view.Host,
                    view.Ports,
                    view.Path,
                    view.IsForward ? Domain.Decoded.ProxyMode.ForwardProxy : Domain.Decoded.ProxyMode.ReverseProxy,
                    in headerView);
                return index < 0 ? null : _httpRoutes[index];
            }
            else
            {
                var method = view.Path.AsSpan(1);
                var slash = method.LastIndexOf('/');
                var index = _grpcTable.Match(
                    view.Host, view.Ports, slash < 0 ? method : method[..slash], method, in headerView);
                return index < 0 ? null : _grpcRoutes[index];
            }
        }
    }
}
