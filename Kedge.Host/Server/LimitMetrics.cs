using System.Diagnostics.Metrics;
using Kedge.Host.RateLimits;

namespace Kedge.Host.Server;

/// <summary>The metrics of rate limits. Their labels are names of the configuration, and never keys.</summary>
internal static class LimitMetrics
{
    public static void Register(Meter meter, RateLimiter limiter)
    {
        meter.CreateObservableCounter("kedge_rate_limit_decisions_total",
            () => from limit in limiter.Counters
                  from entry in limit.All
                  select new Measurement<long>(entry.Count, limit.Label, new("decision", entry.Decision)),
            description: "Requests that a rate limit was asked about, by what it decided.");
        meter.CreateObservableGauge("kedge_rate_limit_keys",
            () =>
            {
                var now = RateLimiter.Now;
                return from limit in limiter.Active
                       select new Measurement<int>(limit.Table.Count(now), limit.Counters.Label);
            },
            description: "Keys of a rate limit whose requests are remembered.");
    }
}
