using System.Globalization;

namespace Kedge.Host.Flags;

/// <summary>A point in time as RFC 3339 writes it: <c>2027-01-03T00:00:00Z</c>.</summary>
public static class InstantType
{
    private const string Seconds = "yyyy-MM-dd'T'HH:mm:ss";
    private static readonly string[] Formats = [$"{Seconds}zzz", $"{Seconds}.FFFFFFFzzz"];

    /// <summary>Null = none, written as the empty string.</summary>
    public static FlagType<DateTimeOffset?> Type { get; } = new(
        "time",
        Read,
        value => value?.ToUniversalTime().ToString($"{Seconds}.FFFFFFF'Z'", CultureInfo.InvariantCulture) ?? "");

    private static string? Read(string word, out DateTimeOffset? value)
    {
        // The letters may be in lower case (RFC 3339, 5.6).
        var text = word.ToUpperInvariant();
        if (text.EndsWith('Z'))
        {
            text = text[..^1] + "+00:00";
        }
        var isTime = DateTimeOffset.TryParseExact(
            text, Formats, CultureInfo.InvariantCulture, DateTimeStyles.None, out var time);
        value = isTime ? time : null;
        return isTime ? null : $"'{word}' is not a time such as 2027-01-03T00:00:00Z";
    }
}
