using System.Buffers;
using System.Text;

namespace Kedge.Wire.Http2.Hpack;

/// <summary>What a field's name means for a message (RFC 9113, section 8.2).</summary>
internal enum HeaderKind : byte
{
    /// <summary>A field that passes unchanged.</summary>
    Regular,

    /// <summary>The length of the content in bytes.</summary>
    ContentLength,

    /// <summary>The pseudo-header field of responses.</summary>
    Status,

    /// <summary>Any other pseudo-header field; none may be in a response or in trailers.</summary>
    OtherPseudo,

    /// <summary>A connection-specific field of HTTP/1.1; it makes a message malformed.</summary>
    ConnectionSpecific,

    /// <summary>Not a valid name in lower case.</summary>
    Malformed,
}

/// <summary>A field's name in lower case. Common names are shared, so that reading or writing one allocates
/// nothing.</summary>
internal sealed class HeaderName
{
    // A power of two, and large enough that few of the common names share a slot.
    private const int Slots = 512;

    private static readonly SearchValues<char> NameCharacters =
        SearchValues.Create("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz");

    private static readonly string[] FurtherNames =
    [
        "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
        "access-control-expose-headers", "access-control-max-age", "access-control-request-headers",
        "access-control-request-method", "alt-svc", "connection", "content-security-policy", "forwarded",
        "grpc-accept-encoding", "grpc-encoding", "grpc-message", "grpc-status", "grpc-status-details-bin",
        "grpc-timeout",
        "http2-settings", "keep-alive", "origin", "priority", "proxy-connection", "referrer-policy", "sec-fetch-dest",
        "sec-fetch-mode", "sec-fetch-site", "te", "traceparent", "tracestate", "trailer", "upgrade",
        "upgrade-insecure-requests", "x-content-type-options", "x-forwarded-for", "x-forwarded-host",
        "x-forwarded-proto",
        "x-frame-options", "x-kedge-backend-name", "x-kedge-request-id", "x-powered-by", "x-real-ip", "x-request-id",
        "x-xss-protection",
    ];

    private static readonly HeaderName[]?[] Known = new HeaderName[]?[Slots];

    static HeaderName()
    {
        for (var index = HpackStaticTable.Count; index > 0; index--)
        {
            Add(HpackStaticTable.NameAt(index), index);
        }
        foreach (var name in FurtherNames)
        {
            Add(name, 0);
        }
    }

    private HeaderName(string text, int staticIndex)
    {
        Text = text;
        StaticIndex = staticIndex;
        Hash = text.GetHashCode();
        Kind = KindOf(text);
        IsSecret = text is "authorization" or "proxy-authorization" or "cookie" or "set-cookie";
    }

    public string Text { get; }

    public int Hash { get; }

    public HeaderKind Kind { get; }

    /// <summary>The first entry of the static table with this name; 0 = there is none.</summary>
    public int StaticIndex { get; }

    /// <summary>Whether values must stay out of compression state (RFC 7541, section 7.1.3).</summary>
    public bool IsSecret { get; }

    /// <summary>A name as received. Never fails: <see cref="Kind"/> says what is wrong with it.</summary>
    public static HeaderName Of(ReadOnlySpan<byte> name) =>
        FindCommon(name) ?? new HeaderName(Encoding.Latin1.GetString(name), 0);

    /// <summary>The common name that these bytes spell; null = none.</summary>
    public static HeaderName? FindCommon(ReadOnlySpan<byte> name)
    {
        if (name.Length > 0 && Known[Slot(name[0], name[name.Length / 2], name[^1], name.Length)] is { } candidates)
        {
            foreach (var candidate in candidates)
            {
                if (Ascii.Equals(name, candidate.Text))
                {
                    return candidate;
                }
            }
        }
        return null;
    }

    /// <summary>The common name that equals this text in any case; null = none.</summary>
    public static HeaderName? FindCommon(string name)
    {
        if (name.Length > 0 && Known[Slot(name[0], name[name.Length / 2], name[^1], name.Length)] is { } candidates)
        {
            foreach (var candidate in candidates)
            {
                if (string.Equals(name, candidate.Text, StringComparison.OrdinalIgnoreCase))
                {
                    return candidate;
                }
            }
        }
        return null;
    }

    public override string ToString() => Text;

    private static int Slot(int first, int middle, int last, int length) =>
        (((first | 0x20) * 7) ^ ((middle | 0x20) * 61) ^ ((last | 0x20) * 5) ^ (length * 17)) & (Slots - 1);

    private static void Add(string text, int staticIndex)
    {
        ref var slot = ref Known[Slot(text[0], text[text.Length / 2], text[^1], text.Length)];
        // Entries with the same name are adjacent, and are added from last to first, so that the first one remains.
        slot = [new HeaderName(text, staticIndex), .. (slot ?? []).Where(other => other.Text != text)];
    }

    private static HeaderKind KindOf(string name)
    {
        if (name.Length == 0)
        {
            return HeaderKind.Malformed;
        }
        if (name[0] == ':')
        {
            return name == ":status" ? HeaderKind.Status : HeaderKind.OtherPseudo;
        }
        if (name.AsSpan().ContainsAnyExcept(NameCharacters))
        {
            return HeaderKind.Malformed;
        }
        return name switch
        {
            "content-length" => HeaderKind.ContentLength,
            "connection" or "keep-alive" or "proxy-connection" or "te" or "transfer-encoding" or "upgrade" =>
                HeaderKind.ConnectionSpecific,
            _ => HeaderKind.Regular,
        };
    }
}
