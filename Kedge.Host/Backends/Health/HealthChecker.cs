using System.Diagnostics;
using Kedge.Domain.Decoded;

namespace Kedge.Host.Backends.Health;

/// <summary>Probes the endpoints of a backend periodically.</summary>
internal sealed class HealthChecker(Backend backend, HealthCheck check, ILogger logger)
{
    private const int MaxConcurrentProbes = 64;
    private static readonly TimeSpan MinPause = TimeSpan.FromMilliseconds(10);

    private readonly TimeSpan _interval = check.Interval > TimeSpan.Zero ? check.Interval : TimeSpan.FromSeconds(10);
    private readonly TimeSpan _timeout = check.Timeout > TimeSpan.Zero ? check.Timeout : TimeSpan.FromSeconds(1);
    private readonly HealthProbe _probe = new(backend.Client, check, backend.Connections);

    /// <summary>Runs until cancelled, then returns.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        try
        {
            await backend.FirstOutcome.WaitAsync(stop);
            var options = new ParallelOptions
            {
                MaxDegreeOfParallelism = MaxConcurrentProbes,
                CancellationToken = stop,
            };
            while (true)
            {
                var started = Stopwatch.GetTimestamp();
                await Parallel.ForEachAsync(backend.Endpoints.Endpoints, options, CheckAsync);
                // Up to a tenth more or less, so that several proxies do not probe in step.
                var left = (_interval * (0.9 + (Random.Shared.NextDouble() / 5))) - Stopwatch.GetElapsedTime(started);
                await Task.Delay(left > MinPause ? left : MinPause, stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The backend was removed.
        }
    }

    private async ValueTask CheckAsync(Endpoint endpoint, CancellationToken stop)
    {
        var problem = await _probe.ProbeAsync(endpoint, _timeout, stop);
        if (!endpoint.Probed(backend.Policy, problem is null))
        {
            return;
        }
        if (problem is null)
        {
            logger.LogInformation("endpoint {Endpoint} of backend {Backend} is healthy again", endpoint, backend.Name);
        }
        else
        {
            logger.LogWarning(
                "endpoint {Endpoint} of backend {Backend} is unhealthy: {Problem}", endpoint, backend.Name, problem);
        }
    }
}
