using System.Text.Json;
using Kedge.Domain;
using Kedge.Domain.Discovery;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// The parts of the cluster that kedge watches: the endpoints of <c>k8s</c> backends, and the services that request
/// routes. However many backends there are, it has one watch of endpoint slices and one of exposed services. A third
/// watch, of all services, begins only when a backend names the port of a service that is not exposed. Watches begin
/// with the first use and never end by themselves; while the API server cannot be reached, the last known state stays
/// in use.
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
    private WatchHealth? _allServicesHealth;
    private readonly HashSet<WatchHealth> _secretsHealth = [];
    private bool _discovers;
    private readonly HashSet<string> _reported = [];

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

    /// <summary>Every watch that has been started.</summary>
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

    /// <summary>
    /// The watches whose first complete list is still missing, one line for each; empty when all have one.
    /// </summary>
    /// <remarks>
    /// With discovery, everything depends on the lists. Without it, only some backends in the files do: kedge then does
    /// not wait for a watch that fails, because the other backends can serve.
    /// </remarks>
    public IReadOnlyList<string> Pending
    {
        get
        {
            lock (_lock)
            {
                return
                [
                    .. from watch in _watches
                       where !watch.IsSynced && (watch.Error is null || IsEssential(watch))
                       let error = watch.Error is { } text ? $": {text}" : ""
                       select $"waiting for the first list of {watch.Name}{error}",
                ];
            }
        }
    }

    /// <summary>
    /// Starts to watch the Secrets of the type <c>kubernetes.io/tls</c> in some namespaces. Call at most once.
    /// </summary>
    /// <param name="options">Which Secrets to watch.</param>
    /// <param name="publish">Receives all certificates when one has changed. Called by one thread at a time.</param>
    public void WatchCertificates(SecretOptions options, Action<LoadedSources> publish)
    {
        var secrets = new CertificateSecrets(publish, _time);
        lock (_lock)
        {
            foreach (var space in options.Namespaces)
            {
                _secretsHealth.Add(Begin(
                    new WatchTarget(
                        $"secrets in {space}",
                        $"/api/v1/namespaces/{space}/secrets",
                        options.Selector,
                        _options.ResolverResyncTimeout,
                        FieldSelector: "type=kubernetes.io/tls"),
                    CertificateSecret.TryRead,
                    secrets.SinkOf(space)));
            }
            Run(secrets.RunAsync);
        }
    }

    /// <summary>The resolver of a <c>k8s</c> backend.</summary>
    /// <param name="dnsPortName">A valid target, as in a validated configuration.</param>
    /// <param name="generated">
    /// Whether discovery generated the backend: if so, a port name is the name of a target port.
    /// </param>
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

    /// <summary>Starts to watch exposed services. Call at most once.</summary>
    /// <param name="options">Which services to watch, and what they generate.</param>
    /// <param name="silenceTimeout">A watch without an event for this long is restarted.</param>
    public DiscoverySource Discover(DiscoveryOptions options, TimeSpan silenceTimeout)
    {
        var source = new DiscoverySource(options, _time, _logger);
        lock (_lock)
        {
            _discovers = true;
            Begin(
                new WatchTarget("exposed services", "/api/v1/services", options.ExposedLabel, silenceTimeout),
                ServiceReader(options.Prefix),
                new CompositeSink<Service>(_exposedPorts, source));
            Run(source.RunAsync);
        }
        // In advance, so that the first generated backends find their endpoints at once.
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

    /// <summary>Whether nothing can be served before its first list. Call it with the lock held.</summary>
    private bool IsEssential(WatchHealth watch) =>
        _discovers && watch != _allServicesHealth && !_secretsHealth.Contains(watch);

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
                        "kedge needs discovery.k8s.io/v1, which Kubernetes has from version 1.21 on"),
                    EndpointSliceJson.tryRead,
                    _slices);
            }
        }
    }

    private void WatchAllServices()
    {
        lock (_lock)
        {
            if (_allServicesHealth is null)
            {
                _allServicesHealth = Begin(
                    new WatchTarget("all services", "/api/v1/services", "", _options.ResolverResyncTimeout),
                    // Only the ports matter here, and no label begins with this prefix.
                    ServiceReader("\0"),
                    _allPorts);
            }
        }
    }

    private static Func<JsonElement, Service?> ServiceReader(string prefix) =>
        element => ServiceJson.TryRead(prefix, element);

    private WatchHealth Begin<T>(WatchTarget target, Func<JsonElement, T?> read, IWatchSink<T> sink)
        where T : class
    {
        var watch = new ResourceWatch<T>(_api, target, read, sink, ReportFailure, _logger);
        _watches.Add(watch.Health);
        Run(watch.RunAsync);
        return watch.Health;
    }

    /// <summary>
    /// Records the error of a watch. Returns whether to log it: when the API server cannot be reached, every attempt of
    /// every watch fails alike, and one line is enough.
    /// </summary>
    private bool ReportFailure(WatchHealth health, string error)
    {
        lock (_lock)
        {
            if (_watches.TrueForAll(watch => watch is { Error: null, IsSynced: true }))
            {
                _reported.Clear();
            }
            health.MarkDown(error);
            return _reported.Add(error);
        }
    }

    private void Run(Func<CancellationToken, Task> work) => _running.Add(Task.Run(() => work(_stop.Token)));
}
