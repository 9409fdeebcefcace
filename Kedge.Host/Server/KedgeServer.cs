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
using Kedge.Host.Resolvers;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Hosting.Server;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace Kedge.Host.Server;

/// <summary>What a server starts with.</summary>
/// <param name="Configuration">As the files, if there are any, said when they were read.</param>
/// <param name="Certificates">Null only when both TLS listeners are off.</param>
/// <param name="Files">What is read again when it changes.</param>
public sealed record ServerStart(Configuration Configuration, CertificateStore? Certificates, ServerFiles Files);

/// <summary>The running proxy: its engine, its listeners and its debug port, from start to drained end.</summary>
public sealed class KedgeServer : IAsyncDisposable
{
    private readonly ListenerOptions options;
    private readonly ILogger<KedgeServer> logger;
    private readonly ServerHealth health = new();
    private readonly Authorizer authorizer;
    private readonly ProxyTelemetry telemetry;
    private readonly KubernetesCluster cluster;
    private readonly DiscoveryPublisher? discovery;
    private readonly RequestRouter router;
    private readonly ProxyEngine engine;
    private readonly Reloader reloader;
    private readonly MeterProvider? metrics;
    private readonly TracerProvider? traces;
    private readonly ProxyServer? proxy;
    private readonly WebApplication? debug;
    private readonly WebApplication? grpcHealth;

    /// <param name="options">What the server is asked to do.</param>
    /// <param name="flags">The flags behind the options, for the page of flags.</param>
    /// <param name="start">What it starts with.</param>
    /// <param name="logging">Where it logs.</param>
    public KedgeServer(ServerOptions options, FlagValues flags, ServerStart start, LogOutput logging)
    {
        Assemblies.Load();
        var loggers = logging.Loggers;
        var certificates = start.Certificates;
        this.options = options.Listeners;
        logger = loggers.CreateLogger<KedgeServer>();
        authorizer = Authorizer.Create(options.Authorization, loggers);
        telemetry = new(new RequestLog(loggers.CreateLogger("kedge.requests"), options.Logging.AccessLog));
        // Before anything is counted: a counter tells nothing of the time when nobody listened.
        metrics = MetricsExport.Create(options.Listeners is { HttpPort: not 0, MetricsPath.Length: > 0 });
        cluster = new(options.Kubernetes, loggers);
        var dns = new DnsLookup(options.Forwarding.DnsNameservers);
        var backends = new BackendRegistry(
            options.Forwarding, new ResolverFactory(dns, cluster), telemetry, loggers.CreateLogger("kedge.backends"));
        router = new(
            options.Forwarding, authorizer, backends, new AdhocTargets(dns, options.Forwarding.AdhocAllowLoopback), telemetry);
        engine = new(options.Forwarding, options.Listeners, router, telemetry, loggers);
        var store = new ConfigurationStore(
            start.Configuration, router.Apply, loggers.CreateLogger("kedge.configuration"), TimeProvider.System);
        reloader = new(options, start.Files, store, certificates, loggers.CreateLogger<Reloader>());
        ServerMetrics.Register(telemetry, router, store, certificates, () => logging.DroppedLines);
        ClusterMetrics.Watches(telemetry.Meter, cluster);
        if (options.Discovery is { Enabled: true } wanted)
        {
            var source = cluster.Discover(
                wanted.TryResolve(out var faults) ?? throw new ArgumentException(string.Join("; ", faults), nameof(options)), wanted.ResyncTimeout);
            discovery = new(source, store, loggers.CreateLogger("kedge.discovery"));
            ClusterMetrics.Discovery(telemetry.Meter, discovery);
        }
        traces = Tracing.Export(options.Tracing.TracesPerSecond);
        if (certificates is not null && options.Listeners.HasTls)
        {
            var gate = new ConnectionGate(CallerConnections(options.Listeners), loggers.CreateLogger("kedge.connections"));
            ServerMetrics.Connections(telemetry.Meter, gate);
            proxy = ProxyListeners.Create(options.Listeners, certificates, engine, telemetry, gate, loggers);
        }
        if (options.Listeners.HttpPort != 0)
        {
            var facts = new DebugFacts
            {
                Router = router,
                Store = store,
                Telemetry = telemetry,
                Health = health,
                Certificates = certificates,
            };
            facts.AddDependencies(() => ClusterViews.Watches(cluster));
            if (discovery is not null)
            {
                facts.AddNotices(() => ClusterViews.Notices(discovery));
            }
            IDebugPage[] pages =
            [
                new HealthzPage(health), new ReadyzPage(health), new VersionPage(facts.Started),
                .. metrics is null || options.Listeners.MetricsPath.Length == 0
                    ? (IDebugPage[])[]
                    : [new MetricsPage(options.Listeners.MetricsPath, metrics)],
                new StatusPage(facts), new ExplainPage(facts), new RequestsPage(facts), new FlagsPage(facts, flags),
                new AssetPage("/debug/kedge.css", "text/css; charset=utf-8", Pages.Assets.css),
                new AssetPage("/debug/kedge.js", "text/javascript; charset=utf-8", Pages.Assets.script),
            ];
            debug = DebugListener.Create(
                options.Listeners, [new IndexPage(pages), .. pages], options.Authorization.ForDebugPages ? authorizer : null,
                telemetry.CountersOf(ListenerKind.HttpPlain), loggers);
        }
        if (options.Listeners.GrpcHealthPort != 0)
        {
            grpcHealth = GrpcHealthListener.Create(options.Listeners, health, loggers);
        }
    }

    /// <summary>How long <see cref="DrainAsync"/> takes at most, not counting the ends of the debug pages.</summary>
    public TimeSpan DrainTime => options.SigtermTimeout;

    /// <summary>Opens the listeners.</summary>
    /// <exception cref="ListenFailedException">One of them cannot be opened.</exception>
    public async Task StartAsync()
    {
        if (debug is not null)
        {
            await debug.StartAsync();
            LogAddresses(ListenerKind.HttpPlain, debug);
        }
        if (grpcHealth is not null)
        {
            await grpcHealth.StartAsync();
            LogAddresses(ListenerKind.GrpcHealth, grpcHealth);
        }
        if (proxy is not null)
        {
            await proxy.StartAsync();
            foreach (var (listener, address) in proxy.Addresses)
            {
                LogAddress(listener, address);
            }
        }
        reloader.Start();
        if (discovery is null)
        {
            health.MarkReady();
        }
        else
        {
            _ = discovery.First.ContinueWith(_ => health.MarkReady(), TaskScheduler.Default);
        }
    }

    /// <summary>
    /// Closes the proxy listeners, lets exchanges in flight finish within the drain time, cuts what is left. The debug port
    /// answers until that is done.
    /// </summary>
    public async Task DrainAsync()
    {
        health.MarkDraining();
        logger.LogInformation("draining: exchanges in flight have {Timeout} to finish", GoDuration.Format(options.SigtermTimeout));
        var begun = Stopwatch.GetTimestamp();
        if (proxy is not null)
        {
            using var limit = new CancellationTokenSource(options.SigtermTimeout);
            await proxy.StopAsync(limit.Token);
            if (limit.IsCancellationRequested)
            {
                logger.LogWarning("the drain time is over; what was still in flight is cut");
            }
        }
        foreach (var side in new[] { grpcHealth, debug })
        {
            if (side is not null)
            {
                using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
                await side.StopAsync(limit.Token);
            }
        }
        logger.LogInformation("ended after {Duration}", GoDuration.Format(TimeSpan.FromMilliseconds((long)Stopwatch.GetElapsedTime(begun).TotalMilliseconds)));
    }

    public async ValueTask DisposeAsync()
    {
        await reloader.DisposeAsync();
        foreach (var host in new IAsyncDisposable?[] { proxy, grpcHealth, debug })
        {
            if (host is not null)
            {
                await host.DisposeAsync();
            }
        }
        await engine.DisposeAsync();
        router.Dispose();
        await cluster.DisposeAsync();
        await authorizer.DisposeAsync();
        traces?.Dispose();
        metrics?.Dispose();
        telemetry.Dispose();
    }

    /// <summary>What the flags allow for both proxy listeners, or less if the limit on open files is lower.</summary>
    private int CallerConnections(ListenerOptions listeners)
    {
        var wanted = listeners.Limits.MaxConnections is var each and > 0
            ? each * new[] { listeners.GrpcTlsPort, listeners.HttpTlsPort }.Count(port => port != 0)
            : int.MaxValue;
        if (OpenFiles.OfProcess() is not { } files || files.CallerConnections >= wanted)
        {
            return wanted;
        }
        logger.LogInformation(
            "the limit of {Limit} open files leaves room for {Connections} connections of callers",
            files.Limit,
            files.CallerConnections);
        return files.CallerConnections;
    }

    private void LogAddresses(ListenerKind listener, WebApplication host)
    {
        foreach (var address in ListenerHost.AddressesOf(host.Services.GetRequiredService<IServer>()))
        {
            LogAddress(listener, address);
        }
    }

    private void LogAddress(ListenerKind listener, string address) =>
        logger.LogInformation("listening on {Address} ({Listener})", address, listener.Name());
}
