using Kedge.Domain;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Resolvers;
using Kedge.Host.Telemetry;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Backends;

/// <summary>A live backend: keeps its endpoints resolved and counts its requests in flight.</summary>
internal sealed class Backend : IEndpointSink, IDisposable
{
    private static readonly TimeSpan ResolverRestartDelay = TimeSpan.FromSeconds(1);

    // Routes follow a change of services within a second.
    private static readonly TimeSpan MissingDelay = TimeSpan.FromSeconds(1.5);

    private readonly ILogger _logger;
    private readonly IEndpointResolver _resolver;
    private readonly bool _logsFirstOutcome;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _firstOutcome = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private EndpointSet _endpoints = EndpointSet.Empty;
    private string? _lastError;
    private bool _isMissing;
    private int _resolutions;
    private ulong _tickets;
    private int _inFlight;

    /// <param name="logsFirstOutcome">Whether the endpoints of the first lookup are logged at level info.</param>
    public Backend(
        BackendInfo info,
        UpstreamClient client,
        HealthPolicy policy,
        IEndpointResolver resolver,
        bool logsFirstOutcome,
        BackendCounters counters,
        ConnectionObserver connections,
        ILogger logger)
    {
        Info = info;
        Name = info.Name;
        Client = client;
        Policy = policy;
        Counters = counters;
        Connections = connections;
        Budget = new(RetryBudget.Of(info.Definition.RetryBudget));
        Stopping = _stop.Token;
        _resolver = resolver;
        _logsFirstOutcome = logsFirstOutcome;
        _logger = logger;
    }

    public BackendInfo Info { get; }

    public string Name { get; }

    public BackendCounters Counters { get; }

    /// <summary>Observes the connections that are opened for its requests.</summary>
    public ConnectionObserver Connections { get; }

    public Protocol Protocol => Client.Protocol;

    public UpstreamClient Client { get; }

    public HealthPolicy Policy { get; }

    /// <summary>How many of its requests may be retries.</summary>
    public RetryAllowance Budget { get; }

    /// <summary>Cancelled when the backend is disposed.</summary>
    public CancellationToken Stopping { get; }

    /// <summary>The endpoints of the last successful lookup.</summary>
    public EndpointSet Endpoints => Volatile.Read(ref _endpoints);

    /// <summary>The time of the last successful lookup; null before the first.</summary>
    public DateTimeOffset? ResolvedAt { get; private set; }

    /// <summary>Why the last lookup failed, or what currently delays the first; null = no error.</summary>
    public string? LastError => _lastError ?? (FirstOutcome.IsCompleted ? null : _resolver.CurrentError);

    /// <summary>Whether the target that the backend names does not exist, so it has no endpoints of its own.</summary>
    public bool IsMissing
    {
        get
        {
            lock (_lock)
            {
                return _isMissing;
            }
        }
    }

    /// <summary>Completes when the first lookup has succeeded or failed.</summary>
    public Task FirstOutcome => _firstOutcome.Task;

    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>Starts to resolve the endpoints. Call it once.</summary>
    public void Start() => _ = ResolveAsync();

    public ulong NextTicket() => Interlocked.Increment(ref _tickets);

    /// <summary>Counts a request as in flight; false when the backend has reached its limit.</summary>
    public bool TryEnter()
    {
        var limit = Info.MaxRequests;
        if (limit == 0 || Interlocked.Increment(ref _inFlight) <= limit)
        {
            return true;
        }
        Interlocked.Decrement(ref _inFlight);
        return false;
    }

    /// <summary>Ends a request that entered.</summary>
    public void Leave()
    {
        if (Info.MaxRequests != 0)
        {
            Interlocked.Decrement(ref _inFlight);
        }
    }

    /// <summary>Stops resolving. Requests that use its endpoints can finish.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
    }

    public void Resolved(IReadOnlyList<ResolvedEndpoint> endpoints, bool areTerminating = false)
    {
        lock (_lock)
        {
            ResolvedAt = DateTimeOffset.UtcNow;
            _lastError = null;
            _isMissing = false;
            _resolutions++;
            var current = _endpoints.Endpoints;
            if (!IsSame(current, endpoints) || _endpoints.AreTerminating != areTerminating)
            {
                var known = current.ToDictionary(e => e.Resolved);
                var next = new List<Endpoint>(endpoints.Count);
                foreach (var resolved in endpoints.Distinct())
                {
                    next.Add(known.GetValueOrDefault(resolved) ?? new Endpoint(resolved));
                }
                Volatile.Write(ref _endpoints, new EndpointSet([.. next], Info.Balancer, areTerminating));
                _logger.Log(
                    _logsFirstOutcome && !_firstOutcome.Task.IsCompleted ? LogLevel.Information : LogLevel.Debug,
                    "backend {Backend} has {Kind} {Endpoints}",
                    Name,
                    areTerminating ? "terminating endpoints" : "endpoints",
                    string.Join(", ", next));
            }
        }
        _firstOutcome.TrySetResult();
    }

    public void Missing(string reason)
    {
        Failed(reason);
        lock (_lock)
        {
            ResolvedAt = DateTimeOffset.UtcNow;
            if (!_isMissing && _endpoints.Endpoints.Length > 0)
            {
                _ = EmptyLaterAsync(_resolutions);
            }
            _isMissing = true;
        }
    }

    /// <summary>
    /// Serves with the endpoints of the backend that had the same routes before, while this backend's own are missing:
    /// endpoints arrive independently of the routes.
    /// </summary>
    public void Succeed(Backend previous)
    {
        var inherited = previous.Endpoints;
        lock (_lock)
        {
            if (_isMissing && _endpoints.Endpoints.Length == 0 && inherited.Endpoints.Length > 0)
            {
                Volatile.Write(
                    ref _endpoints, new EndpointSet(inherited.Endpoints, Info.Balancer, inherited.AreTerminating));
                _ = EmptyLaterAsync(++_resolutions);
            }
        }
    }

    public void Failed(string error)
    {
        lock (_lock)
        {
            if (_lastError != error)
            {
                _logger.LogWarning("backend {Backend} cannot be resolved: {Error}", Name, error);
            }
            _lastError = error;
        }
        _firstOutcome.TrySetResult();
    }

    private async Task EmptyLaterAsync(int resolution)
    {
        await Task.Delay(MissingDelay, Stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        lock (_lock)
        {
            // A stopped backend keeps its endpoints: its successor may use them.
            if (resolution == _resolutions && !Stopping.IsCancellationRequested)
            {
                Volatile.Write(ref _endpoints, EndpointSet.Empty);
            }
        }
    }

    private static bool IsSame(Endpoint[] current, IReadOnlyList<ResolvedEndpoint> resolved)
    {
        if (current.Length != resolved.Count)
        {
            return false;
        }
        // DNS servers rotate their answers, so the order has no meaning.
        var set = new HashSet<ResolvedEndpoint>(resolved);
        return set.Count == resolved.Count && Array.TrueForAll(current, e => set.Contains(e.Resolved));
    }

    private async Task ResolveAsync()
    {
        while (!Stopping.IsCancellationRequested)
        {
            try
            {
                await _resolver.RunAsync(this, Stopping);
                return;
            }
            catch (OperationCanceledException) when (Stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                _logger.LogError(e, "the resolver of backend {Backend} failed and will be restarted", Name);
                Failed(e.Message);
            }
            await Task.Delay(ResolverRestartDelay);
        }
    }
}
