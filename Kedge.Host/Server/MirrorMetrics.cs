using System.Diagnostics.Metrics;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Server;

/// <summary>The metrics of copies of requests.</summary>
internal static class MirrorMetrics
{
    public static void Register(Meter meter, ProxyTelemetry telemetry)
    {
        meter.CreateObservableCounter("kedge_mirrored_requests_total",
            () => from mirror in telemetry.Mirrors
                  from entry in mirror.All()
                  select new Measurement<long>(
                      entry.Count, new("backend_name", mirror.Backend), new("result", entry.Result)),
            description: "Copies of requests for a mirror, by what became of them.");
        meter.CreateObservableCounter("kedge_mirror_status_total",
            () => from route in telemetry.MirrorAgreements
                  from entry in new[] { (Same: "true", Count: route.Same), (Same: "false", Count: route.Different) }
                  select new Measurement<long>(entry.Count, [.. route.Labels, new("same", entry.Same)]),
            description: "Answers of the mirrors of a named route, by whether the caller got the same status.");
    }
}
