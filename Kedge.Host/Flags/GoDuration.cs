using System.Buffers;
using System.Globalization;
using System.Text;

namespace Kedge.Host.Flags;

/// <summary>
/// Durations in the notation of Go's <c>time.ParseDuration</c>: a possibly signed sequence of decimal numbers, each
/// with a unit (<c>ns us µs ms s m h</c>), such as <c>300ms</c> or <c>1h15m30.918s</c>; a bare <c>0</c> needs no unit.
/// </summary>
public static class GoDuration
{
    private static readonly SearchValues<char> NumberCharacters = SearchValues.Create("0123456789.");

    /// <summary>Reads a duration. What is finer than 100 ns (a tick) is cut off.</summary>
    /// <returns>False when the text is not a duration or does not fit a <see cref="TimeSpan"/>.</returns>
    public static bool TryParse(ReadOnlySpan<char> text, out TimeSpan duration)
    {
        duration = default;
        var negative = text.StartsWith("-");
        if (negative || text.StartsWith("+"))
        {
            text = text[1..];
        }
        if (text is "0")
        {
            return true;
        }
        if (text.IsEmpty)
        {
            return false;
        }
        decimal ticks = 0;
        while (!text.IsEmpty)
        {
            var number = text.IndexOfAnyExcept(NumberCharacters);
            // 18 digits fit a decimal with room for the unit's factor; a number that is longer fits no TimeSpan.
            if (number is <= 0 or > 18
                || !decimal.TryParse(
                    text[..number], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value))
            {
                return false;
            }
            text = text[number..];
            var next = text.IndexOfAny(NumberCharacters);
            var unit = next < 0 ? text : text[..next];
            if (TicksOf(unit) is not { } factor)
            {
                return false;
            }
            ticks += value * factor;
            text = text[unit.Length..];
        }
        if (ticks > TimeSpan.MaxValue.Ticks)
        {
            return false;
        }
        duration = TimeSpan.FromTicks(negative ? -(long)ticks : (long)ticks);
        return true;
    }

    /// <summary>Writes a duration as Go would: <c>0s</c>, <c>300ms</c>, <c>1m30s</c>, <c>40s</c>.</summary>
    public static string Format(TimeSpan duration)
    {
        if (duration == TimeSpan.Zero)
        {
            return "0s";
        }
        var text = new StringBuilder();
        var ticks = (decimal)duration.Ticks;
        if (ticks < 0)
        {
            text.Append('-');
            ticks = -ticks;
        }
        if (ticks < TimeSpan.TicksPerSecond)
        {
            var (unit, factor) = ticks < TimeSpan.TicksPerMillisecond
                ? ("µs", 10m)
                : ("ms", TimeSpan.TicksPerMillisecond);
            return text.Append(Number(ticks / factor)).Append(unit).ToString();
        }
        var hours = decimal.Floor(ticks / TimeSpan.TicksPerHour);
        var minutes = decimal.Floor(ticks % TimeSpan.TicksPerHour / TimeSpan.TicksPerMinute);
        var seconds = ticks % TimeSpan.TicksPerMinute / TimeSpan.TicksPerSecond;
        if (hours > 0)
        {
            text.Append(Number(hours)).Append('h');
        }
        if (minutes > 0)
        {
            text.Append(Number(minutes)).Append('m');
        }
        if (seconds > 0)
        {
            text.Append(Number(seconds)).Append('s');
        }
        return text.ToString();
    }

    private static string Number(decimal value) => value.ToString("0.#########", CultureInfo.InvariantCulture);

    private static decimal? TicksOf(ReadOnlySpan<char> unit) => unit switch
    {
        "ns" => 0.01m,
        "us" or "µs" or "μs" => 10m,
        "ms" => TimeSpan.TicksPerMillisecond,
        "s" => TimeSpan.TicksPerSecond,
        "m" => TimeSpan.TicksPerMinute,
        "h" => TimeSpan.TicksPerHour,
        _ => null,
    };
}
