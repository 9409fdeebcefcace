using Kedge.Host.Telemetry;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>The traffic of the last 15 minutes as the pages show it.</summary>
internal static class TrafficViews
{
    public static TrafficView Of(TrafficPoint[] points) => new(
        (int)TrafficHistory.Period.TotalSeconds,
        [.. points.Select(point => point.Requests)],
        [.. points.Select(point => point.Errors)],
        [.. points.Select(point => point.P50)],
        [.. points.Select(point => point.P99)]);
}
