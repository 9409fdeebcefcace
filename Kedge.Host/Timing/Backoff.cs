namespace Kedge.Host.Timing;

/// <summary>
/// The pauses between attempts: each up to twice the previous one, with jitter, so that a peer that recovers does not
/// meet all its clients at once. Not thread-safe.
/// </summary>
public sealed class Backoff
{
    private readonly TimeSpan _first;
    private readonly TimeSpan _max;
    private TimeSpan _limit;

    /// <param name="first">The limit of the first pause.</param>
    /// <param name="max">The limit of every pause.</param>
    public Backoff(TimeSpan first, TimeSpan max)
    {
        _first = _limit = first;
        _max = max;
    }

    /// <summary>A random time between half of <paramref name="limit"/> and all of it.</summary>
    public static TimeSpan Jitter(TimeSpan limit) => limit * (0.5 + (Random.Shared.NextDouble() / 2));

    /// <summary>A random time between nine and eleven tenths of <paramref name="time"/>.</summary>
    public static TimeSpan Spread(TimeSpan time) => time * (0.9 + (Random.Shared.NextDouble() / 5));

    /// <summary>Notes that an attempt has succeeded: the next pause is a first one again.</summary>
    public void Reset() => _limit = _first;

    /// <summary>The next pause.</summary>
    public TimeSpan Next()
    {
        var pause = Jitter(_limit);
        _limit = _limit * 2 < _max ? _limit * 2 : _max;
        return pause;
    }
}
