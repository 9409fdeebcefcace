using System.Diagnostics;
using Kedge.Domain.Decoded;

namespace Kedge.Host.Backends.Health;

/// <summary>Asks the endpoints of one backend, again and again, whether they are well.</summary>
internal sealed class HealthChecker(Backend backend, HealthCheck check, ILogger logger)
{
    private const int MostAtOnce = 64;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    private readonly TimeSpan _interval = check.Interval > TimeSpan.Zero ? check.Interval : TimeSpan.FromSeconds(10);
    private readonly TimeSpan _timeout = check.Timeout > TimeSpan.Zero ? check.Timeout : TimeSpan.FromSeconds(1);
    private readonly HealthProbe _probe = new(backend.Client, check);

    /// <summary>Runs until cancelled; then it returns.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        try
        {
            await backend.FirstOutcome.WaitAsync(stop);
            var options = new ParallelOptions { MaxDegreeOfParallelism = MostAtOnce, CancellationToken = stop };
            while (true)
            {
                var begun = Stopwatch.GetTimestamp();
                await Parallel.ForEachAsync(backend.Endpoints.Endpoints, options, CheckAsync);
                // A tenth more or less, so that the checks of several proxies do not stay in step.
                var left = _interval * (0.9 + Random.Shared.NextDouble() / 5) - Stopwatch.GetElapsedTime(begun);
                await Task.Delay(left > Pause ? left : Pause, stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The backend has gone.
        }
    }

    private async ValueTask CheckAsync(Endpoint endpoint, CancellationToken stop)
    {
        var problem = await _probe.AskAsync(endpoint, _timeout, stop);
        if (!endpoint.Probed(backend.Policy, problem is null))
        {
            return;
        }
        if (problem is null)
        {
            logger.LogInformation("endpoint {Endpoint} of backend {Backend} is well again", endpoint, backend.Name);
        }
        else
        {
            logger.LogWarning("endpoint {Endpoint} of backend {Backend} is unwell: {Problem}", endpoint, backend.Name, problem);
        }
    }
}
