using Kedge.Host.RateLimits;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Server;

/// <summary>
/// Counts the ready endpoints of kedge's own service: the rate limits of all replicas are divided by their number.
/// While none is known, only this replica counts; when the number cannot be read, the last one stays in effect.
/// </summary>
internal sealed class ReplicaWatch : IEndpointSink, IAsyncDisposable
{
    private readonly ReplicaCount _replicas;
    private readonly string _service;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;

    /// <param name="resolver">Resolves the endpoints of the service.</param>
    /// <param name="service">Its name, for log lines.</param>
    /// <param name="replicas">Receives the count.</param>
    /// <param name="logger">Where changes are logged.</param>
    public ReplicaWatch(IEndpointResolver resolver, string service, ReplicaCount replicas, ILogger logger)
    {
        (_replicas, _service, _logger) = (replicas, service, logger);
        _running = resolver.RunAsync(this, _stop.Token);
    }

    public void Resolved(IReadOnlyList<ResolvedEndpoint> endpoints, bool areTerminating = false)
    {
        var before = _replicas.Count;
        _replicas.Set(areTerminating ? 0 : endpoints.Count);
        if (_replicas.Count != before)
        {
            _logger.LogInformation(
                "rate limits of all replicas are divided by {Count}, the ready endpoints of {Service}",
                _replicas.Count,
                _service);
        }
    }

    public void Missing(string reason) => Report(reason);

    public void Failed(string error) => Report(error);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private void Report(string problem) =>
        _logger.LogWarning(
            "the replicas of kedge cannot be counted: {Problem}; rate limits are still divided by {Count}",
            problem,
            _replicas.Count);
}
