namespace Kedge.Host.Listeners;

/// <summary>Limits log lines about callers to one per second: those that fail retry again and again.</summary>
internal sealed class LogThrottle
{
    private static readonly TimeSpan BetweenLines = TimeSpan.FromSeconds(1);

    private long _nextLine = long.MinValue;
    private int _unlogged;

    /// <summary>Whether a line may be logged now.</summary>
    /// <param name="unlogged">How many lines were suppressed since the last one.</param>
    public bool TryTake(out int unlogged)
    {
        unlogged = 0;
        var now = Environment.TickCount64;
        var next = Volatile.Read(ref _nextLine);
        if (now < next
            || Interlocked.CompareExchange(ref _nextLine, now + (long)BetweenLines.TotalMilliseconds, next) != next)
        {
            Interlocked.Increment(ref _unlogged);
            return false;
        }
        unlogged = Interlocked.Exchange(ref _unlogged, 0);
        return true;
    }
}
