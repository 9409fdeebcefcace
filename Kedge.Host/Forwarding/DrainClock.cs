namespace Kedge.Host.Forwarding;

/// <summary>How much of the drain time is over.</summary>
internal sealed class DrainClock
{
    private long _half = long.MaxValue;

    /// <summary>Whether more than half of it is over.</summary>
    public bool IsLate => Environment.TickCount64 > Volatile.Read(ref _half);

    /// <summary>The server begins to drain.</summary>
    public void Begin(TimeSpan drainTime) =>
        Volatile.Write(ref _half, Environment.TickCount64 + (long)(drainTime.TotalMilliseconds / 2));
}
