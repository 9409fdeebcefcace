using System.Diagnostics.Metrics;
using System.Globalization;
using Kedge.Wire.Loops;

namespace Kedge.Host.Server;

/// <summary>The metrics of event loops.</summary>
internal static class LoopMetrics
{
    /// <param name="loops">Null = there are none, and no series.</param>
    public static void Register(Meter meter, EventLoops? loops)
    {
        IReadOnlyList<EventLoop> all = loops?.All ?? [];
        meter.CreateObservableGauge("kedge_loop_stall_seconds",
            () => from loop in all select new Measurement<double>(loop.Statistics.Stall.TotalSeconds, Label(loop)),
            description: "The longest time in the last minute for which an event loop did not look for new events.");
        meter.CreateObservableCounter("kedge_loop_turns_total",
            () => from loop in all select new Measurement<long>(loop.Statistics.Turns, Label(loop)),
            description: "How often an event loop looked for events.");
        meter.CreateObservableCounter("kedge_loop_events_total",
            () => from loop in all select new Measurement<long>(loop.Statistics.Events, Label(loop)),
            description: "Events that an event loop found.");
        meter.CreateObservableGauge("kedge_loop_sockets",
            () => from loop in all select new Measurement<int>(loop.Sockets, Label(loop)),
            description: "Sockets that an event loop serves: listeners, and connections of callers and to backends.");
    }

    private static KeyValuePair<string, object?> Label(EventLoop loop) =>
        new("loop", loop.Index.ToString(CultureInfo.InvariantCulture));
}
