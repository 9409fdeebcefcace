using Kedge.Domain;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Backends.Health;
using Kedge.Host.Resolvers;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Backends;

/// <summary>A backend of the configuration, alive: it keeps its endpoints resolved and spreads requests over them.</summary>
internal sealed class Backend : IEndpointSink, IDisposable
{
    private readonly ILogger _logger;
    private readonly IEndpointResolver? _resolver;
    private string? _lastError;
    private readonly bool _logsFirstOutcome;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _firstOutcome = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private EndpointSet _endpoints = EndpointSet.Empty;
    private ulong _tickets;
    private int _inFlight;

    /// <param name="logsFirstOutcome">Whether the endpoints of the first lookup go to the log, at level info.</param>
    public Backend(
        BackendInfo info,
        bool isGrpc,
        UpstreamClient client,
        HealthPolicy policy,
        IEndpointResolver? resolver,
        bool logsFirstOutcome,
        BackendCounters counters,
        ILogger logger)
    {
        Info = info;
        Counters = counters;
        Name = info.Name;
        IsGrpc = isGrpc;
        Client = client;
        Policy = policy;
        _logger = logger;
        _resolver = resolver;
        _logsFirstOutcome = logsFirstOutcome;
        if (resolver is null)
        {
            Failed("this kind of resolver is not available");
        }
        else
        {
            _ = ResolveAsync(resolver);
        }
        if (info.Definition.HealthCheck is { Value: var check })
        {
            _ = new HealthChecker(this, check, logger).RunAsync(_stop.Token);
        }
    }

    public BackendInfo Info { get; }

    public string Name { get; }

    public BackendCounters Counters { get; }

    public bool IsGrpc { get; }

    public UpstreamClient Client { get; }

    public HealthPolicy Policy { get; }

    /// <summary>Those of the last good answer.</summary>
    public EndpointSet Endpoints => Volatile.Read(ref _endpoints);

    /// <summary>When the last good answer came; null before the first.</summary>
    public DateTimeOffset? ResolvedAt { get; private set; }

    /// <summary>Why the last lookup failed, or why the first does not come to an end; null when it did not fail.</summary>
    public string? LastError => _lastError ?? (FirstOutcome.IsCompleted ? null : _resolver?.Trouble);

    /// <summary>Completes when the first lookup has come to an end, good or bad.</summary>
    public Task FirstOutcome => _firstOutcome.Task;

    public int InFlight => Volatile.Read(ref _inFlight);

    public ulong NextTicket() => Interlocked.Increment(ref _tickets);

    /// <summary>Counts a request in, unless as many as the backend may have are under way.</summary>
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

    public void Leave()
    {
        if (Info.MaxRequests != 0)
        {
            Interlocked.Decrement(ref _inFlight);
        }
    }

    /// <summary>Stops resolving. Requests that have its endpoints finish.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
    }

    public void Resolved(IReadOnlyList<ResolvedEndpoint> endpoints)
    {
        lock (_lock)
        {
            ResolvedAt = DateTimeOffset.UtcNow;
            _lastError = null;
            var old = _endpoints.Endpoints;
            if (!IsSame(old, endpoints))
            {
                var known = old.ToDictionary(e => e.Resolved);
                var next = new List<Endpoint>(endpoints.Count);
                foreach (var resolved in endpoints.Distinct())
                {
                    next.Add(known.GetValueOrDefault(resolved) ?? new Endpoint(resolved, Client.IsTls));
                }
                Volatile.Write(ref _endpoints, new EndpointSet([.. next], Info.Balancer));
                _logger.Log(
                    _logsFirstOutcome && !_firstOutcome.Task.IsCompleted ? LogLevel.Information : LogLevel.Debug,
                    "backend {Backend} has endpoints {Endpoints}",
                    Name,
                    string.Join(", ", next));
            }
        }
        _firstOutcome.TrySetResult();
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

    private static bool IsSame(Endpoint[] old, IReadOnlyList<ResolvedEndpoint> now)
    {
        if (old.Length != now.Count)
        {
            return false;
        }
        // DNS servers rotate their answers: the order says nothing.
        var known = new HashSet<ResolvedEndpoint>(now);
        return known.Count == now.Count && Array.TrueForAll(old, e => known.Contains(e.Resolved));
    }

    private async Task ResolveAsync(IEndpointResolver resolver)
    {
        var stop = _stop.Token;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await resolver.RunAsync(this, stop);
                return;
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                _logger.LogError(e, "the resolver of backend {Backend} failed; it starts again", Name);
                Failed(e.Message);
            }
            await Task.Delay(TimeSpan.FromSeconds(1));
        }
    }
}
