using System.Globalization;
using System.Net;
using System.Net.Security;
using TlsVersion = Kedge.Domain.Decoded.TlsVersion;

namespace Kedge.Host.Flags;

/// <summary>How the values of a flag are written and read.</summary>
/// <param name="Placeholder">The placeholder for a value in the help text.</param>
/// <param name="Read">Reads one word. Returns null, or what is wrong with it: "'x' is not …".</param>
/// <param name="Write">Formats a value as on the command line.</param>
public sealed record FlagType<T>(string Placeholder, FlagType<T>.Reader Read, Func<T, string> Write)
{
    public delegate string? Reader(string word, out T value);

    /// <summary>Joins the values of a flag that is given several times. Null = the last one counts.</summary>
    public Func<T, T, T>? Join { get; init; }

    /// <summary>The words that a shell can complete.</summary>
    public IReadOnlyList<string> Choices { get; init; } = [];
}

/// <summary>An address, a URL, or neither.</summary>
public readonly record struct AddressOrUrl(IPAddress? Address, Uri? Url);

/// <summary>The types of the flags.</summary>
public static class FlagTypes
{
    public static FlagType<bool> Switch { get; } = new("true|false", ReadSwitch, value => value ? "true" : "false")
    {
        Choices = ["true", "false"],
    };

    public static FlagType<string> Text { get; } = new("text", ReadText, value => value);

    public static FlagType<string> File { get; } = new("file", ReadText, value => value);

    /// <summary>A TCP port; 0 = off.</summary>
    public static FlagType<int> Port { get; } = Integer("port", 0, IPEndPoint.MaxPort);

    /// <summary>A port that is not 0.</summary>
    public static FlagType<int> PortThatIsOn { get; } = Integer("port", 1, IPEndPoint.MaxPort);

    /// <summary>The HTTP status of an error.</summary>
    public static FlagType<int> ErrorStatus { get; } = Integer("status", 400, 599);

    public static FlagType<int> Count { get; } = Integer("number", 0, int.MaxValue);

    public static FlagType<int> AtLeast(int min) => Integer("number", min, int.MaxValue);

    /// <summary>A duration of zero or more.</summary>
    public static FlagType<TimeSpan> Duration { get; } = new("duration", ReadDuration, Domain.Duration.Format);

    public static FlagType<IPAddress> Address { get; } = new("address", ReadAddress, value => value.ToString());

    /// <summary>An address of a caller, or the URL of a server.</summary>
    public static FlagType<AddressOrUrl> AddressOrUrl { get; } = new(
        "address|url", ReadAddressOrUrl, value => value.Url?.OriginalString ?? value.Address?.ToString() ?? "");

    /// <summary>An absolute http or https URL. Null = none, written as the empty string.</summary>
    public static FlagType<Uri?> Url { get; } = new("url", ReadUrl, value => value?.OriginalString ?? "");

    /// <summary>The host and port of a peer. Null = none, written as the empty string.</summary>
    public static FlagType<DnsEndPoint?> HostPort { get; } = new("host:port", ReadHostPort, WriteHostPort);

    public static FlagType<IReadOnlyList<string>> Texts { get; } = ListOf("text,…", Text);

    /// <summary>Texts that may contain commas. The flag is repeated; a value is never split.</summary>
    public static FlagType<IReadOnlyList<string>> WholeTexts { get; } = new(
        "text",
        (string word, out IReadOnlyList<string> values) => Out(out values, null, [word]),
        values => string.Join(", ", values))
    {
        Join = (before, after) => [.. before, .. after],
    };

    public static FlagType<IReadOnlyList<string>> Files { get; } = ListOf("file,…", File);

    public static FlagType<IReadOnlyList<IPNetwork>> Networks { get; } =
        ListOf("cidr,…", new FlagType<IPNetwork>("cidr", ReadNetwork, value => value.ToString()));

    /// <summary>DNS servers; without a port, 53.</summary>
    public static FlagType<IReadOnlyList<IPEndPoint>> Nameservers { get; } =
        ListOf(
            "address[:port],…",
            new FlagType<IPEndPoint>("address[:port]", ReadNameserver, value => value.ToString()));

    /// <summary>One of the members of an enumeration, in lower case.</summary>
    public static FlagType<T> OneOf<T>() where T : struct, Enum
    {
        var names = Enum.GetNames<T>().Select(name => name.ToLowerInvariant()).ToArray();
        return new(
            string.Join('|', names),
            (string word, out T value) =>
                Array.IndexOf(names, word) < 0
                    ? Out(out value, $"'{word}' is not one of {string.Join(", ", names)}")
                    : Out(out value, null, Enum.Parse<T>(word, ignoreCase: true)),
            value => value.ToString().ToLowerInvariant())
        {
            Choices = names,
        };
    }

    public static FlagType<TlsVersion> TlsVersions { get; } = new(
        "1.2|1.3",
        (string word, out TlsVersion value) => word switch
        {
            "1.2" => Out(out value, null, TlsVersion.Tls12),
            "1.3" => Out(out value, null, TlsVersion.Tls13),
            _ => Out(out value, $"'{word}' is not one of 1.2, 1.3", TlsVersion.Tls12),
        },
        value => value == TlsVersion.Tls13 ? "1.3" : "1.2")
    {
        Choices = ["1.2", "1.3"],
    };

    public static FlagType<IReadOnlyList<TlsCipherSuite>> CipherSuites { get; } = ListOf(
        "name,…",
        new FlagType<TlsCipherSuite>(
            "name",
            (string word, out TlsCipherSuite value) =>
                Enum.TryParse(word, out value) && Enum.IsDefined(value) && !char.IsAsciiDigit(word[0])
                    ? null
                    : $"'{word}' is not the IANA name of a cipher suite"
                        + (Domain.Suggestion.ClosestOrNull(Enum.GetNames<TlsCipherSuite>(), word) is { } meant
                            ? $" (did you mean {meant}?)"
                            : ""),
            value => value.ToString()));

    /// <summary>One of the members of an enumeration, as the configuration files write them: <c>NO_ROUTE</c>.</summary>
    public static FlagType<T> NameOf<T>() where T : struct, Enum
    {
        var values = Enum.GetValues<T>();
        var names = values.Select(NameIn).ToArray();
        return new(
            string.Join('|', names),
            (string word, out T value) => Array.IndexOf(names, word.ToUpperInvariant()) is >= 0 and var index
                ? Out(out value, null, values[index])
                : Out(out value, $"'{word}' is not one of {string.Join(", ", names)}"),
            value => NameIn(value))
        {
            Choices = names,
        };

        static string NameIn(T value) =>
            System.Text.Json.JsonNamingPolicy.SnakeCaseUpper.ConvertName(value.ToString());
    }

    /// <summary>
    /// A log level, in any case. Also accepts the names of logrus, which existing deployments use: <c>warn</c>,
    /// <c>trace</c> (= debug), <c>fatal</c> and <c>panic</c> (= error).
    /// </summary>
    public static FlagType<LogVerbosity> LogLevel { get; } = ReadLogLevel();

    private static FlagType<LogVerbosity> ReadLogLevel()
    {
        var names = OneOf<LogVerbosity>();
        return names with
        {
            Read = (string word, out LogVerbosity value) => names.Read(
                word.ToLowerInvariant() switch
                {
                    "warn" => "warning",
                    "trace" => "debug",
                    "fatal" or "panic" => "error",
                    // For any other word, the word itself, for the error message.
                    var lower => names.Choices.Contains(lower) ? lower : word,
                },
                out value),
        };
    }

    private static FlagType<IReadOnlyList<T>> ListOf<T>(string placeholder, FlagType<T> element) => new(
        placeholder,
        (string words, out IReadOnlyList<T> values) =>
        {
            var list = new List<T>();
            values = list;
            const StringSplitOptions tidy = StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries;
            foreach (var word in words.Split(',', tidy))
            {
                if (element.Read(word, out var value) is { } problem)
                {
                    return problem;
                }
                list.Add(value);
            }
            return null;
        },
        values => string.Join(',', values.Select(element.Write)))
    {
        Join = (before, after) => [.. before, .. after],
    };

    private static FlagType<int> Integer(string placeholder, int min, int max) => new(
        placeholder,
        (string word, out int value) =>
            int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out value)
            && value >= min
            && value <= max
                ? null
                : $"'{word}' is not a number from {min} to {max}",
        value => value.ToString(CultureInfo.InvariantCulture));

    private static string? ReadSwitch(string word, out bool value)
    {
        // The spellings that Go's strconv.ParseBool accepts.
        value = word is "true" or "1" or "t" or "T" or "TRUE" or "True";
        return value || word is "false" or "0" or "f" or "F" or "FALSE" or "False"
            ? null
            : $"'{word}' is not true or false";
    }

    private static string? ReadText(string word, out string value) => Out(out value, null, word);

    private static string? ReadDuration(string word, out TimeSpan value) =>
        !Domain.Duration.TryParse(word, out value) ? $"'{word}' is not a duration such as 300ms, 2s, 1m30s or 1h"
        : value < TimeSpan.Zero ? $"'{word}' is negative"
        // The longest time that a .NET timer accepts.
        : value.TotalMilliseconds > uint.MaxValue - 1 ? $"'{word}' is longer than 49 days"
        : null;

    private static string? ReadAddress(string word, out IPAddress value) =>
        IPAddress.TryParse(word, out var address)
            ? Out(out value, null, address)
            : Out(out value, $"'{word}' is not an IP address", IPAddress.None);

    private static string? ReadAddressOrUrl(string word, out AddressOrUrl value)
    {
        value = default;
        if (IPAddress.TryParse(word, out var address))
        {
            value = new(address, null);
            return null;
        }
        if (word.Contains("://", StringComparison.Ordinal) && ReadUrl(word, out var url) is null)
        {
            value = new(null, url);
            return null;
        }
        return $"'{word}' is neither an IP address nor an http or https URL";
    }

    private static string? ReadNetwork(string word, out IPNetwork value)
    {
        if (IPAddress.TryParse(word, out var one))
        {
            return Out(out value, null, new IPNetwork(one, one.GetAddressBytes().Length * 8));
        }
        return IPNetwork.TryParse(word, out value)
            ? null
            : $"'{word}' is not a network such as 10.0.0.0/8 (no bit may be set beyond the prefix)";
    }

    private static string? ReadNameserver(string word, out IPEndPoint value)
    {
        const int dns = 53;
        return IPEndPoint.TryParse(word, out var server)
            ? Out(out value, null, server.Port == 0 ? new IPEndPoint(server.Address, dns) : server)
            : Out(
                out value,
                $"'{word}' is not an IP address with or without a port",
                new IPEndPoint(IPAddress.None, dns));
    }

    private static string? ReadUrl(string word, out Uri? value)
    {
        value = null;
        return word.Length == 0
            || (Uri.TryCreate(word, UriKind.Absolute, out value)
                && value is { Scheme: "http" or "https", Host.Length: > 0 })
            ? null
            : $"'{word}' is not an http or https URL";
    }

    private static string? ReadHostPort(string word, out DnsEndPoint? value)
    {
        value = null;
        if (word.Length == 0)
        {
            return null;
        }
        var colon = word.LastIndexOf(':');
        var host = colon < 0 ? "" : word[..colon].Trim('[', ']');
        if (host.Length == 0
            || !int.TryParse(word.AsSpan(colon + 1), out var port)
            || port is < 1 or > IPEndPoint.MaxPort)
        {
            return $"'{word}' is not a host and port such as logstash.internal:5000";
        }
        value = new(host, port);
        return null;
    }

    private static string WriteHostPort(DnsEndPoint? value) =>
        value is null ? ""
        : value.Host.Contains(':', StringComparison.Ordinal) ? $"[{value.Host}]:{value.Port}"
        : $"{value.Host}:{value.Port}";

    private static string? Out<T>(out T target, string? problem, T value = default!)
    {
        target = value;
        return problem;
    }
}
