namespace Kedge.Host.Backends;

/// <summary>The monotonic clock of endpoint health.</summary>
internal static class Clock
{
    /// <summary>Ticks of <see cref="TimeSpan"/> since an arbitrary start; advances every few milliseconds.</summary>
    public static long Now => Environment.TickCount64 * TimeSpan.TicksPerMillisecond;
}
