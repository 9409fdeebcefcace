using System.Buffers;

namespace Kedge.Wire.Http2.Hpack;

/// <summary>A decoded field.</summary>
/// <param name="Name">The name; its kind says whether it may be in a message.</param>
/// <param name="Value">The value, one character for each byte.</param>
/// <param name="IsSound">Whether the value contains no control characters and neither begins nor ends with white space.
/// </param>
internal readonly record struct HeaderField(HeaderName Name, string Value, bool IsSound)
{
    /// <summary>What each field adds to the size of its name and value, in bytes (RFC 7541, section 4.1).</summary>
    public const int Overhead = 32;

    // RFC 9110, section 5.5. RFC 9113, section 8.2.1 names only NUL, CR and LF; the other control characters are
    // refused because an HTTP/1.1 hop may misinterpret them.
    private static readonly SearchValues<byte> ControlBytes = SearchValues.Create(
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
            25, 26, 27, 28, 29, 30, 31, 127]);

    private static readonly SearchValues<char> ControlCharacters = SearchValues.Create(
        "\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008\u000A\u000B\u000C\u000D\u000E\u000F\u0010\u0011\u0012"
        + "\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001A\u001B\u001C\u001D\u001E\u001F\u007F");

    /// <summary>The size by which tables and lists are measured (RFC 7541, section 4.1; RFC 9113, section
    /// 6.5.2).</summary>
    public int Size => Name.Text.Length + Value.Length + Overhead;

    /// <summary>Whether a received value may be in a message.</summary>
    public static bool IsSoundValue(ReadOnlySpan<byte> value) =>
        value.IsEmpty
        || (!value.ContainsAny(ControlBytes)
            && value[0] is not ((byte)' ' or (byte)'\t') && value[^1] is not ((byte)' ' or (byte)'\t'));

    /// <summary>
    /// Whether a value may be sent: it must be sound like a received one, and each character must fit into one byte.
    /// </summary>
    public static bool IsSoundValue(ReadOnlySpan<char> value) =>
        value.IsEmpty
        || (!value.ContainsAny(ControlCharacters) && !value.ContainsAnyInRange('\u0100', '\uFFFF')
            && value[0] is not (' ' or '\t') && value[^1] is not (' ' or '\t'));
}
