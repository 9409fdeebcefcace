using System.Diagnostics.Metrics;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Server;

/// <summary>The metrics of named routes with several backends.</summary>
internal static class SplitMetrics
{
    public static void Register(Meter meter, ProxyTelemetry telemetry)
    {
        meter.CreateObservableCounter("kedge_route_backend_requests_total",
            () => from split in telemetry.Splits
                  from entry in split.All()
                  select new Measurement<long>(
                      entry.Count,
                      [.. split.Labels, new("backend_name", entry.Backend), new("code", entry.Code)]),
            description: "Completed requests of each named route with several backends, by backend and by HTTP status "
                + "or gRPC code.");
        meter.CreateObservableCounter("kedge_split_key_missing_total",
            () => from split in telemetry.Splits
                  where split.MissingKeys > 0
                  select new Measurement<long>(split.MissingKeys, split.Labels),
            description: "Requests of a named route without the key of its split_by, whose backend was drawn.");
    }
}
