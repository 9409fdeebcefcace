using System.Text.Json;
using Kedge.Domain;
using Kedge.Domain.Discovery;
using Kedge.Host.Flags;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// The cluster as far as kedge looks at it: the endpoints of <c>k8s</c> backends, and the services that ask for routes.
/// However many backends there are, it has one watch of endpoint slices and one of exposed services; a third, of all
/// services, begins only when a backend names a port of a service that is not exposed by its <c>targetPort</c>.
/// Watches begin with the first use and never end by themselves; while the API server is away, what was known stays.
/// </summary>
public sealed class KubernetesCluster : IAsyncDisposable
{
    private readonly KubernetesOptions _options;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly KubernetesApi _api;
    private readonly EndpointSliceIndex _slices;
    private readonly ServicePortIndex _exposedPorts;
    private readonly ServicePortIndex _allPorts;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly List<Task> _running = [];
    private readonly List<WatchHealth> _watches = [];
    private WatchHealth? _slicesHealth;
    private bool _watchesAllServices;
    private readonly HashSet<string> _told = [];

    public KubernetesCluster(KubernetesOptions options, ILoggerFactory loggers, TimeProvider? time = null)
    {
        _options = options;
        _logger = loggers.CreateLogger("Kedge.Kubernetes");
        _time = time ?? TimeProvider.System;
        _api = new KubernetesApi(options);
        _exposedPorts = new ServicePortIndex(key => _slices!.Refresh(key), settled: () => { });
        _allPorts = new ServicePortIndex(key => _slices!.Refresh(key), settled: () => _slices!.RefreshAll());
        _slices = new EndpointSliceIndex(
            key => _exposedPorts.Find(key) ?? _allPorts.Find(key),
            () =>
            {
                WatchAllServices();
                return _allPorts.IsSettled;
            });
    }

    /// <summary>Every watch that has begun.</summary>
    public IReadOnlyList<WatchHealth> Watches
    {
        get
        {
            lock (_lock)
            {
                return [.. _watches];
            }
        }
    }

    /// <summary>The resolver of a <c>k8s</c> backend.</summary>
    /// <param name="dnsPortName">Valid, as that of every backend of a configuration is.</param>
    /// <param name="generated">Whether discovery made the backend: then a port's name is that of a target port.</param>
    public IEndpointResolver ResolverOf(string dnsPortName, bool generated)
    {
        var target = K8sTargetModule.tryParse(dnsPortName);
        if (target.IsError)
        {
            throw new ArgumentException($"{dnsPortName}: must be {target.ErrorValue}", nameof(dnsPortName));
        }
        WatchSlices();
        return new KubernetesResolver(_slices, target.ResultValue, generated, () => _slicesHealth?.Error);
    }

    /// <summary>Begins to look for exposed services. To be called once at most.</summary>
    /// <param name="silenceTimeout">After so long without a word the watch is restarted.</param>
    public DiscoverySource Discover(Domain.Discovery.DiscoveryOptions options, TimeSpan silenceTimeout)
    {
        var source = new DiscoverySource(options, _time, _logger);
        lock (_lock)
        {
            Begin(
                new WatchTarget("exposed services", "/api/v1/services", options.ExposedLabel, silenceTimeout),
                ServiceReader(options.Prefix),
                new ManySinks<Service>(_exposedPorts, source));
            Run(source.RunAsync);
        }
        // The first generated backends must not wait for the first list of slices.
        WatchSlices();
        return source;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        Task[] running;
        lock (_lock)
        {
            running = [.. _running];
        }
        await Task.WhenAll(running).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _api.Dispose();
        _stop.Dispose();
    }

    private void WatchSlices()
    {
        lock (_lock)
        {
            if (_slicesHealth is null)
            {
                _slicesHealth = Begin(
                    new WatchTarget(
                        "endpoint slices",
                        "/apis/discovery.k8s.io/v1/endpointslices",
                        "",
                        _options.ResolverResyncTimeout,
                        "endpoint slices are read as discovery.k8s.io/v1, which Kubernetes has from version 1.21 on"),
                    EndpointSliceJson.tryRead,
                    _slices);
            }
        }
    }

    private void WatchAllServices()
    {
        lock (_lock)
        {
            if (!_watchesAllServices)
            {
                _watchesAllServices = true;
                Begin(
                    new WatchTarget("all services", "/api/v1/services", "", _options.ResolverResyncTimeout),
                    // Only the ports count here; no label begins so.
                    ServiceReader("\0"),
                    _allPorts);
            }
        }
    }

    private static Func<JsonElement, Service?> ServiceReader(string prefix) => element => ServiceJson.TryRead(prefix, element);

    private WatchHealth Begin<T>(WatchTarget target, Func<JsonElement, T?> read, IWatchSink<T> sink)
        where T : class
    {
        var watch = new ResourceWatch<T>(_api, target, read, sink, Fails, _logger);
        _watches.Add(watch.Health);
        Run(watch.RunAsync);
        return watch.Health;
    }

    /// <summary>An API server that is away is one piece of news, not one of each watch and attempt: whether it is to be told.</summary>
    private bool Fails(WatchHealth health, string error)
    {
        lock (_lock)
        {
            if (_watches.TrueForAll(watch => watch is { Error: null, IsSynced: true }))
            {
                _told.Clear();
            }
            health.Fails(error);
            return _told.Add(error);
        }
    }

    private void Run(Func<CancellationToken, Task> work) => _running.Add(Task.Run(() => work(_stop.Token)));
}
