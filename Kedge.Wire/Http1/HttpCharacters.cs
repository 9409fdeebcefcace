using System.Buffers;
using System.Text;

namespace Kedge.Wire.Http1;

/// <summary>The characters that the parts of a message may consist of (RFC 9110, 5.5 and 5.6.2).</summary>
public static class HttpCharacters
{
    private const string TokenText = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    private static readonly SearchValues<char> TokenCharacters = SearchValues.Create(TokenText);
    private static readonly SearchValues<byte> TokenBytes = SearchValues.Create(Encoding.ASCII.GetBytes(TokenText));

    // Control characters except the horizontal tab.
    private static readonly SearchValues<byte> ForbiddenBytes = SearchValues.Create(
        [.. Enumerable.Range(0, 0x20).Where(code => code != '\t').Select(code => (byte)code), 0x7f]);

    // Characters beyond Latin-1 do not fit into one byte.
    private static readonly SearchValues<char> AllowedInValue = SearchValues.Create(
        [.. Enumerable.Range(0, 0x100)
            .Where(code => code is '\t' or (>= 0x20 and not 0x7f))
            .Select(code => (char)code)]);

    private static readonly SearchValues<char> AllowedInTarget = SearchValues.Create(
        [.. Enumerable.Range(0x21, 0x100 - 0x21).Where(code => code != 0x7f).Select(code => (char)code)]);

    public static bool IsToken(ReadOnlySpan<char> text) =>
        text.Length > 0 && !text.ContainsAnyExcept(TokenCharacters);

    public static bool IsToken(ReadOnlySpan<byte> text) => text.Length > 0 && !text.ContainsAnyExcept(TokenBytes);

    public static bool IsTokenByte(byte value) => TokenBytes.Contains(value);

    /// <summary>Whether the text can be a field value: it contains no control characters except tabs.</summary>
    public static bool IsFieldValue(ReadOnlySpan<byte> text) => !text.ContainsAny(ForbiddenBytes);

    /// <summary>Whether the text can be a field value, with one character for each byte.</summary>
    public static bool IsFieldValue(ReadOnlySpan<char> text) => !text.ContainsAnyExcept(AllowedInValue);

    /// <summary>Whether the text can be a request target: it contains neither spaces nor control characters.</summary>
    public static bool IsTarget(ReadOnlySpan<char> text) => text.Length > 0 && !text.ContainsAnyExcept(AllowedInTarget);
}
