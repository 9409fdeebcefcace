using System.Globalization;

namespace Kedge.Host.Http;

/// <summary>Reads <c>grpc-timeout</c>: 1 to 8 digits and a unit (gRPC over HTTP/2, "Timeout").</summary>
internal static class GrpcTimeout
{
    // Timers take no longer delay.
    private static readonly TimeSpan Longest = TimeSpan.FromMilliseconds(uint.MaxValue - 2);

    public static bool TryParse(ReadOnlySpan<char> text, out TimeSpan timeout)
    {
        timeout = default;
        if (text.Length is < 2 or > 9
            || !ulong.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            return false;
        }
        long ticksOfUnit = text[^1] switch
        {
            'H' => TimeSpan.TicksPerHour,
            'M' => TimeSpan.TicksPerMinute,
            'S' => TimeSpan.TicksPerSecond,
            'm' => TimeSpan.TicksPerMillisecond,
            'u' => TimeSpan.TicksPerMicrosecond,
            'n' => 0,
            _ => -1,
        };
        if (ticksOfUnit < 0)
        {
            return false;
        }
        timeout = ticksOfUnit == 0
            ? TimeSpan.FromTicks((long)number / TimeSpan.NanosecondsPerTick)
            : TimeSpan.FromTicks((long)Math.Min(number, (ulong)(long.MaxValue / ticksOfUnit)) * ticksOfUnit);
        if (timeout > Longest)
        {
            timeout = Longest;
        }
        return true;
    }
}
