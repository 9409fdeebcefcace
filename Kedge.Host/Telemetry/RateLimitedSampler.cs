using OpenTelemetry.Trace;

namespace Kedge.Host.Telemetry;

/// <summary>
/// Samples a limited number of spans per second. As the root of a <see cref="ParentBasedSampler"/> it limits the traces
/// that begin here: in any <c>t</c> seconds it samples at most <c>(t + 1) × limit</c>, whatever the load.
/// </summary>
/// <remarks>
/// A token bucket that holds the tokens of one second, and is full at first. Its only state is the time at which it
/// will be full again (the generic cell rate algorithm, ITU-T I.371). Taking a token advances that time by the interval
/// between two tokens; the bucket is empty when that time is a second or more ahead. A rejected span writes nothing, so
/// under load the cores can share the state without invalidating each other's caches.
/// </remarks>
public sealed class RateLimitedSampler : Sampler
{
    private readonly TimeProvider _time;

    // In ticks of the clock, rounded up so that the limit is never exceeded.
    private readonly long _perToken;
    private readonly long _capacity;
    private long _full;

    /// <param name="perSecond">0 or more; 0 = none.</param>
    /// <param name="time">The clock.</param>
    public RateLimitedSampler(int perSecond, TimeProvider time)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(perSecond);
        _time = time;
        var rate = Math.Max(1, perSecond);
        _perToken = (time.TimestampFrequency + rate - 1) / rate;
        _capacity = _perToken * perSecond;
        _full = time.GetTimestamp();
    }

    public override SamplingResult ShouldSample(in SamplingParameters samplingParameters) => new(TryTake());

    private bool TryTake()
    {
        var now = _time.GetTimestamp();
        var full = Volatile.Read(ref _full);
        while (true)
        {
            var next = Math.Max(full, now) + _perToken;
            if (next - now > _capacity)
            {
                return false;
            }
            var seen = Interlocked.CompareExchange(ref _full, next, full);
            if (seen == full)
            {
                return true;
            }
            full = seen;
        }
    }
}
