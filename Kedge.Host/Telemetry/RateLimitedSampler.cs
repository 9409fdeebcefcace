using OpenTelemetry.Trace;

namespace Kedge.Host.Telemetry;

/// <summary>
/// Samples so many spans a second at most. As the root of a <see cref="ParentBasedSampler"/> it limits the traces that
/// begin here: however many ask at once, in any time of <c>t</c> seconds no more than <c>(t + 1) × limit</c>.
/// </summary>
/// <remarks>
/// A token bucket that holds one second's worth, full at first. All it keeps is when it will be full again (the generic
/// cell rate algorithm, ITU-T I.371): to take a token moves that on by the time that one takes to come, and an empty
/// bucket is the one that is full no sooner than in a second. Whoever is refused has written nothing, so that under
/// load the cores share the moment without taking it from each other.
/// </remarks>
public sealed class RateLimitedSampler : Sampler
{
    private readonly TimeProvider _time;

    // In the clock's ticks, rounded up: never more than the limit.
    private readonly long _perToken;
    private readonly long _capacity;
    private long _full;

    /// <param name="perSecond">0 or more; 0 = none.</param>
    /// <param name="time">Its timestamps are the clock.</param>
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
