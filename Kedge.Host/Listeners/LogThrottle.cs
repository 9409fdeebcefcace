namespace Kedge.Host.Listeners;

/// <summary>Limits lines about what callers do to one a second: those that fail try again and again.</summary>
internal sealed class LogThrottle
{
    private static readonly TimeSpan BetweenLines = TimeSpan.FromSeconds(1);

    private long _nextLine = long.MinValue;
    private int _unlogged;

    /// <summary>Whether a line may be logged now.</summary>
    /// <param name="unlogged">How many were not, since the last one.</param>
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
