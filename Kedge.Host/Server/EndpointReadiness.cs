using System.Diagnostics.Metrics;
using Kedge.Host.Backends;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Server;

/// <summary>
/// Whether each endpoint gets requests, as a metric. A metric keeps the last value of a series, so an endpoint that is
/// gone is still reported, as not ready, for some minutes: long enough for all readers of the metric.
/// </summary>
internal sealed class EndpointReadiness(RequestRouter router)
{
    private const int MaxGone = 1000;
    private static readonly TimeSpan RetentionPeriod = TimeSpan.FromMinutes(5);

    private readonly Lock _lock = new();
    private Dictionary<(BackendCounters, string), DateTime> _known = [];

    public IEnumerable<Measurement<int>> Measure()
    {
        var clock = Clock.Now;
        var now = DateTime.UtcNow;
        var measurements = new List<Measurement<int>>();
        var known = new Dictionary<(BackendCounters, string), DateTime>();
        foreach (var backend in router.LiveBackends)
        {
            foreach (var endpoint in backend.Endpoints.Endpoints)
            {
                var address = endpoint.Name;
                known[(backend.Counters, address)] = now;
                measurements.Add(Of(backend.Counters, address, endpoint.Health.IsAvailable(clock) ? 1 : 0));
            }
        }
        lock (_lock)
        {
            var gone = _known
                .Where(entry => !known.ContainsKey(entry.Key) && now - entry.Value < RetentionPeriod)
                .Take(MaxGone)
                .ToArray();
            foreach (var (key, lastSeen) in gone)
            {
                known[key] = lastSeen;
                measurements.Add(Of(key.Item1, key.Item2, 0));
            }
            _known = known;
        }
        return measurements;
    }

    private static Measurement<int> Of(BackendCounters backend, string address, int value) =>
        new(value, [.. backend.Labels, new("endpoint", address)]);
}
