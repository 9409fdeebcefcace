namespace Kedge.Host.Forwarding;

/// <summary>Tracks how much of the drain time has passed.</summary>
internal sealed class DrainClock
{
    private long _half = long.MaxValue;

    /// <summary>Whether more than half of it has passed.</summary>
    public bool IsLate => Environment.TickCount64 > Volatile.Read(ref _half);

    /// <summary>Starts the clock: the server begins to drain.</summary>
    public void Begin(TimeSpan drainTime) =>
        Volatile.Write(ref _half, Environment.TickCount64 + (long)(drainTime.TotalMilliseconds / 2));
}
