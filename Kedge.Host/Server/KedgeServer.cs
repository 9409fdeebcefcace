using System.Diagnostics;
using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Backends;
using Kedge.Host.Certificates;
using Kedge.Host.Configurations;
using Kedge.Host.Debug;
using Kedge.Host.Flags;
using Kedge.Host.Forwarding;
using Kedge.Host.Http;
using Kedge.Host.Kubernetes;
using Kedge.Host.Listeners;
using Kedge.Host.Logging;
using Kedge.Host.RateLimits;
using Kedge.Host.Resolvers;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Kedge.Wire.Loops;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace Kedge.Host.Server;

/// <summary>The running proxy: assembles its parts, opens its listeners, and drains them at the end.</summary>
public sealed class KedgeServer : IAsyncDisposable
{
    // The debug and health ports serve nothing that is worth waiting for.
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(1);

    // With 64 sockets, thousands of backends are resolved within seconds.
    private const int MaxBackendQueries = 64;

    // How often the server checks whether it is ready, until it is.
    private static readonly TimeSpan ReadinessInterval = TimeSpan.FromMilliseconds(50);

    private readonly ListenerOptions _options;
    private readonly ILogger<KedgeServer> _logger;
    private readonly ServerHealth _health = new();
    private readonly ProxyTelemetry _telemetry;
    private readonly MeterProvider? _metrics;
    private readonly TracerProvider? _traces;
    private readonly Authorizer _authorizer;
    private readonly KubernetesCluster _cluster;
    private readonly NameServers _nameServers;
    private readonly RateLimiter _limiter;
    private readonly ReplicaWatch? _replicas;
    private readonly RequestRouter _router;
    private readonly ProxyEngine _engine;
    private readonly EventLoops? _loops;
    private readonly DiscoveryPublisher? _discovery;
    private readonly FileReload<LoadedFiles> _configurationReload;
    private readonly FileReload<ServerIdentity>? _certificateReload;
    private readonly FileReload<LoadedSources>? _directoryReload;
    private readonly ProxyServer? _proxy;
    private readonly TrafficHistory? _history;
    private readonly WebApplication? _debug;
    private readonly WebApplication? _grpcHealth;

    /// <param name="options">The options of the server.</param>
    /// <param name="flags">The flags behind the options, for the page that shows them.</param>
    /// <param name="start">What the server starts from.</param>
    /// <param name="logging">Where the server logs.</param>
    public KedgeServer(ServerOptions options, FlagValues flags, ServerStart start, LogOutput logging)
    {
        Assemblies.Load();
        var loggers = logging.Loggers;
        var (files, certificates, watched) = start;
        _options = options.Listeners;
        _logger = loggers.CreateLogger<KedgeServer>();

        _telemetry = new(new RequestLog(loggers.CreateLogger("kedge.requests"), options.Logging.AccessLog));
        // Before anything is counted: instruments record nothing until a listener is attached.
        _metrics = MetricsExport.Create(_options is { HttpPort: not 0, MetricsPath.Length: > 0 });
        _traces = Tracing.Export(options.Tracing.TracesPerSecond);

        _authorizer = new(options.Authorization, loggers);
        _cluster = new(options.Kubernetes, loggers);
        _nameServers = new(options.Forwarding.DnsNameservers);
        var rateLog = loggers.CreateLogger("kedge.ratelimits");
        var service = options.Kubernetes.KedgeService;
        _limiter = new(new ForwardedHeaders(options.Forwarding).ClientAddressOf, service.Length > 0, rateLog);
        _replicas = service.Length == 0
            ? null
            : new(_cluster.ResolverOf(service, generated: false), service, _limiter.Replicas, rateLog);
        if (_options.EventLoops > 0)
        {
            var log = loggers.CreateLogger("kedge.loops");
            _loops = new(_options.EventLoops, e => log.LogError(e, "an event loop failed to handle an event"));
        }
        LoopMetrics.Register(_telemetry.Meter, _loops);
        _router = CreateRouter(options.Forwarding, loggers);
        _engine = new(options.Forwarding, _options, certificates, _router, _telemetry, loggers);

        var store = new ConfigurationStore(
            files, _router.Apply, loggers.CreateLogger("kedge.configuration"), TimeProvider.System);
        _discovery = Discover(options.Discovery, store, loggers);
        var reloadLog = loggers.CreateLogger("kedge.reload");
        _configurationReload = new(
            "configuration",
            watched.Configuration,
            new ConfigurationReload(options.Configuration, watched.Configuration, store),
            reloadLog);
        _certificateReload = certificates is null
            ? null
            : new(
                "certificate",
                watched.Certificates,
                new CertificateReload(options.Tls, certificates, reloadLog),
                reloadLog);
        if (certificates is not null && options.Tls.CertDirs.Count > 0)
        {
            var directories = new CertificateDirectoryReload(options.Tls.CertDirs, certificates, reloadLog);
            directories.Replace(CertificateDirectories.Read(options.Tls.CertDirs), "start");
            _directoryReload = new("certificate", watched.NamedCertificates, directories, reloadLog);
        }
        if (certificates is not null && options.Tls.Secrets.Namespaces.Count > 0)
        {
            _cluster.WatchCertificates(
                options.Tls.Secrets, sources => certificates.Replace(sources).Log(reloadLog));
        }

        ServerMetrics.Register(_telemetry, _router, store, certificates, logging);
        LimitMetrics.Register(_telemetry.Meter, _limiter);
        IssuerMetrics.Register(_telemetry.Meter, _authorizer);
        ClusterMetrics.Register(_telemetry.Meter, _cluster, _discovery);

        if (_options.HasProxy)
        {
            var memory = _options.Limits.MaxBufferedMib is var mib and > 0
                ? mib * 1024L * 1024L
                : MemoryBudget.OfMachine();
            var gate = new ConnectionGate(
                CallerConnections(), loggers.CreateLogger("kedge.connections"), memory);
            ServerMetrics.RegisterConnections(_telemetry.Meter, gate);
            _proxy = ProxyListeners.Create(_options, certificates, _engine, _telemetry, gate, _loops, loggers);
        }
        if (_options.HttpPort != 0)
        {
            _history = new TrafficHistory(_telemetry);
            var facts = new DebugFacts
            {
                Router = _router,
                Store = store,
                Telemetry = _telemetry,
                History = _history,
                Health = _health,
                Certificates = certificates,
                Cluster = _cluster,
                Discovery = _discovery,
            };
            var pages = DebugPages.Of(facts, flags, _options.MetricsPath, _metrics);
            var guard = options.Authorization.ForDebugPages ? _authorizer : null;
            _debug = DebugListener.Create(
                _options, pages, guard, _telemetry.CountersOf(ListenerKind.HttpPlain), loggers);
        }
        if (_options.GrpcHealthPort != 0)
        {
            _grpcHealth = GrpcHealthListener.Create(_options, _health, loggers);
        }
    }

    /// <summary>
    /// How long <see cref="DrainAsync"/> takes at most, not counting the shutdown of the debug and health ports.
    /// </summary>
    public TimeSpan DrainTime => _options.SigtermDelay + _options.SigtermTimeout;

    /// <summary>Opens the listeners.</summary>
    /// <exception cref="ListenFailedException">One of them cannot be opened.</exception>
    public async Task StartAsync()
    {
        if (_debug is not null)
        {
            await _debug.StartAsync();
            LogAddress(ListenerKind.HttpPlain, _debug.Urls.Single());
        }
        if (_grpcHealth is not null)
        {
            await _grpcHealth.StartAsync();
            LogAddress(ListenerKind.GrpcHealth, _grpcHealth.Urls.Single());
        }
        if (_proxy is not null)
        {
            await _proxy.StartAsync();
            foreach (var (listener, address) in _proxy.Addresses)
            {
                LogAddress(listener, address);
            }
        }
        _configurationReload.Start();
        _certificateReload?.Start();
        _directoryReload?.Start();
        if (!HasCluster())
        {
            _ = WaitForClusterAsync();
        }
    }

    /// <summary>
    /// Makes health checks fail, closes the proxy listeners after the delay, lets exchanges in flight finish within the
    /// drain time, then aborts the rest. The debug port stays open until that is done.
    /// </summary>
    public async Task DrainAsync()
    {
        _health.MarkDraining();
        if (_options.SigtermDelay > TimeSpan.Zero)
        {
            _logger.LogInformation(
                "health checks fail; the proxy ports close in {Delay}", Duration.Format(_options.SigtermDelay));
            await Task.Delay(_options.SigtermDelay);
        }
        _engine.Drain.Begin(_options.SigtermTimeout);
        _logger.LogInformation(
            "draining: exchanges in flight have {Timeout} to finish", Duration.Format(_options.SigtermTimeout));
        var begun = Stopwatch.GetTimestamp();
        if (_proxy is not null)
        {
            using var limit = new CancellationTokenSource(_options.SigtermTimeout);
            await _proxy.StopAsync(limit.Token);
            if (limit.IsCancellationRequested)
            {
                _logger.LogWarning("the drain time is over; exchanges still in flight were aborted");
            }
        }
        foreach (var host in new[] { _grpcHealth, _debug })
        {
            if (host is not null)
            {
                using var limit = new CancellationTokenSource(CloseTimeout);
                await host.StopAsync(limit.Token);
            }
        }
        var elapsed = TimeSpan.FromMilliseconds((long)Stopwatch.GetElapsedTime(begun).TotalMilliseconds);
        _logger.LogInformation("drained in {Duration}", Duration.Format(elapsed));
    }

    public async ValueTask DisposeAsync()
    {
        await DisposeAsync(
            _configurationReload, _certificateReload, _directoryReload, _proxy, _grpcHealth, _debug, _engine);
        _history?.Dispose();
        _router.Dispose();
        await DisposeAsync(_replicas);
        _nameServers.Dispose();
        await DisposeAsync(_cluster, _authorizer);
        _traces?.Dispose();
        _metrics?.Dispose();
        _telemetry.Dispose();
        _loops?.Dispose();
    }

    private static async Task DisposeAsync(params IAsyncDisposable?[] parts)
    {
        foreach (var part in parts)
        {
            if (part is not null)
            {
                await part.DisposeAsync();
            }
        }
    }

    /// <summary>
    /// How many connections the flags allow for all proxy listeners, or fewer if the limit on open files is lower.
    /// </summary>
    private int CallerConnections()
    {
        int[] ports = [_options.GrpcTlsPort, _options.HttpTlsPort, _options.HttpPlainPort];
        var wanted = _options.Limits.MaxConnections is var each and > 0
            ? (int)Math.Min(int.MaxValue, (long)each * ports.Count(port => port != 0))
            : int.MaxValue;
        if (OpenFiles.OfProcess() is not { } files || files.CallerConnections >= wanted)
        {
            return wanted;
        }
        _logger.LogInformation(
            "the limit of {Limit} open files leaves room for {Connections} connections of callers",
            files.Limit,
            files.CallerConnections);
        return files.CallerConnections;
    }

    /// <summary>Marks the server ready if the first lists that it needs from the cluster have arrived.</summary>
    private bool HasCluster()
    {
        var reason = _cluster.Pending is [var first, ..] ? first
            : _discovery is { First.IsCompleted: false } ? "waiting for the first routes of discovery"
            : "";
        _health.WaitsFor = reason;
        if (reason.Length == 0)
        {
            _health.MarkReady();
        }
        return reason.Length == 0;
    }

    private async Task WaitForClusterAsync()
    {
        using var timer = new PeriodicTimer(ReadinessInterval);
        while (!_health.IsDraining && !HasCluster())
        {
            await timer.WaitForNextTickAsync();
        }
    }

    private DiscoveryPublisher? Discover(
        ServiceDiscoveryOptions options, ConfigurationStore store, ILoggerFactory loggers)
    {
        if (!options.Enabled)
        {
            return null;
        }
        var resolved = options.TryResolve(out var errors)
            ?? throw new ArgumentException(string.Join("; ", errors), nameof(options));
        return new(_cluster.Discover(resolved, options.ResyncTimeout), store, loggers.CreateLogger("kedge.discovery"));
    }

    private RequestRouter CreateRouter(ForwardingOptions options, ILoggerFactory loggers)
    {
        // Each has its own limit on queries: neither callers nor a long list of backends may starve the other.
        var backendDns = new DnsLookup(_nameServers, new SemaphoreSlim(MaxBackendQueries));
        var adhocDns = new DnsLookup(_nameServers, new SemaphoreSlim(2 * options.AdhocMaxLookups));
        var backends = new BackendRegistry(
            options with
            {
                // Otherwise, they would use up the files that everything else needs.
                MaxBackendConnections = Math.Min(
                    options.MaxBackendConnections, OpenFiles.OfProcess()?.BackendConnections ?? int.MaxValue),
            },
            _loops,
            new ResolverFactory(backendDns, options.DnsAbsenceGrace, _cluster),
            _telemetry,
            loggers.CreateLogger("kedge.backends"));
        var adhoc = new AdhocTargets(
            new SharedLookups(adhocDns, options.AdhocMaxLookups),
            new OwnPorts(_options.Ports),
            options.AdhocAllowLoopback);
        return new(options, _authorizer, backends, adhoc, _limiter, _telemetry);
    }

    private void LogAddress(ListenerKind listener, string address) =>
        _logger.LogInformation("listening on {Address} ({Listener})", address, listener.Name());
}
