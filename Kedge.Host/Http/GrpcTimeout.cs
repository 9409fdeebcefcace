using System.Globalization;

namespace Kedge.Host.Http;

/// <summary>Reads and writes <c>grpc-timeout</c>: 1 to 8 digits and a unit (gRPC over HTTP/2, "Timeout").</summary>
internal static class GrpcTimeout
{
    // The longest delay that a timer supports.
    private static readonly TimeSpan MaxTimeout = TimeSpan.FromMilliseconds(uint.MaxValue - 2);

    /// <summary>The text of a timeout, in whole milliseconds; at least one.</summary>
    public static string Format(TimeSpan timeout) =>
        string.Create(
            CultureInfo.InvariantCulture, $"{Math.Clamp((long)timeout.TotalMilliseconds, 1, 99_999_999)}m");

    /// <summary>False when the text is malformed. A timeout that is too long for a timer is shortened.</summary>
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
        if (timeout > MaxTimeout)
        {
            timeout = MaxTimeout;
        }
        return true;
    }
}
