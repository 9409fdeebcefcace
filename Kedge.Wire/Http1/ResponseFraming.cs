using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http1;

/// <summary>How the end of a response's content is found.</summary>
public enum ContentFraming
{
    /// <summary>There is no content.</summary>
    None,

    /// <summary>By Content-Length.</summary>
    Length,

    /// <summary>By the chunked transfer coding.</summary>
    Chunked,

    /// <summary>By the end of the connection.</summary>
    UntilClose,
}

/// <summary>
/// What the head of a response says about its content and the connection (RFC 9112, 6.3 and 9.3). Anything that two
/// recipients could read in two ways is an error: that is how responses are split.
/// </summary>
/// <param name="Error">Why the framing is invalid; null when it is valid.</param>
/// <param name="Framing">Of the content.</param>
/// <param name="ContentLength">The value of Content-Length where it applies, also to HEAD and 304; otherwise null.
/// </param>
/// <param name="IsPersistent">Whether another request can follow on the connection.</param>
/// <param name="KeepAliveSeconds">The timeout of Keep-Alive; null when there is none.</param>
public readonly record struct ResponseFraming(
    string? Error, ContentFraming Framing, long? ContentLength, bool IsPersistent, int? KeepAliveSeconds)
{
    /// <summary>Determines the framing of a final response.</summary>
    /// <param name="method">Of the request.</param>
    public static ResponseFraming Of(string method, int status, bool isHttp10, FieldList fields)
    {
        long? length = null;
        string? coding = null;
        bool closes = false, keepsAlive = false;
        int? timeout = null;
        foreach (ref readonly var field in fields.AsSpan())
        {
            switch (field.Name.Length)
            {
                case 10 when Is(field.Name, "Connection"):
                    closes |= HasMember(field.Value, "close");
                    keepsAlive |= HasMember(field.Value, "keep-alive");
                    break;
                case 10 when Is(field.Name, "Keep-Alive"):
                    timeout = TimeoutIn(field.Value) ?? timeout;
                    break;
                case 14 when Is(field.Name, "Content-Length"):
                    if (length is not null)
                    {
                        return Invalid("it has more than one Content-Length");
                    }
                    if (!TryParseLength(field.Value, out var value))
                    {
                        return Invalid("its Content-Length is not a number");
                    }
                    length = value;
                    break;
                case 17 when Is(field.Name, "Transfer-Encoding"):
                    if (coding is not null || !Is(field.Value, "chunked"))
                    {
                        return Invalid("its transfer coding is not chunked");
                    }
                    coding = field.Value;
                    break;
            }
        }
        if (coding is not null && (length is not null || isHttp10))
        {
            return Invalid(
                isHttp10 ? "it is HTTP/1.0 with a transfer coding" : "it has both a length and a transfer coding");
        }
        var isPersistent = isHttp10 ? keepsAlive && !closes : !closes;
        if (status is < 200 or 204 or 205)
        {
            // There is no content, whatever the head says; bytes that a faulty peer sends after it must not be taken
            // for the next response.
            return new(null, ContentFraming.None, null, isPersistent && length is null or 0 && coding is null, timeout);
        }
        if (method == "HEAD" || status == 304)
        {
            return new(null, ContentFraming.None, length, isPersistent, timeout);
        }
        return coding is not null ? new(null, ContentFraming.Chunked, null, isPersistent, timeout)
            : length is null ? new(null, ContentFraming.UntilClose, null, false, null)
            : new(null, length == 0 ? ContentFraming.None : ContentFraming.Length, length, isPersistent, timeout);
    }

    /// <summary>Whether a list contains this member (RFC 9110, 5.6.1).</summary>
    public static bool HasMember(string list, string member)
    {
        foreach (var range in list.AsSpan().Split(','))
        {
            if (list.AsSpan(range).Trim(" \t").Equals(member, StringComparison.OrdinalIgnoreCase))
            {
                return true;
            }
        }
        return false;
    }

    private static ResponseFraming Invalid(string error) => new(error, ContentFraming.None, null, false, null);

    private static bool Is(string text, string other) => text.Equals(other, StringComparison.OrdinalIgnoreCase);

    private static bool TryParseLength(string text, out long length)
    {
        length = 0;
        // 18 digits always fit.
        if (text.Length is 0 or > 18)
        {
            return false;
        }
        foreach (var digit in text)
        {
            if (digit is < '0' or > '9')
            {
                return false;
            }
            length = 10 * length + (digit - '0');
        }
        return true;
    }

    private static int? TimeoutIn(string text)
    {
        const string name = "timeout=";
        foreach (var range in text.AsSpan().Split(','))
        {
            var parameter = text.AsSpan(range).Trim(" \t");
            if (parameter.StartsWith(name, StringComparison.OrdinalIgnoreCase)
                && int.TryParse(parameter[name.Length..].Trim('"'), out var seconds)
                && seconds >= 0)
            {
                return seconds;
            }
        }
        return null;
    }
}
