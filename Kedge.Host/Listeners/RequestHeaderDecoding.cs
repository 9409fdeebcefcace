using System.Buffers;
using System.Text;
using Kedge.Domain;
using Kedge.Host.Http;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Listeners;

/// <summary>
/// How the server decodes the bytes of request headers. It asks for the encoding of each header before it interprets
/// the value, so this is the only place to check values that it would accept too readily, or change.
/// </summary>
internal static class RequestHeaderDecoding
{
    // RFC 9110, 5.5: a field value contains visible characters, spaces, tabs and bytes above 0x7F.
    private static readonly SearchValues<byte> ControlCharacters = SearchValues.Create(
        [.. Enumerable.Range(0, 0x20).Where(octet => octet != '\t').Select(octet => (byte)octet), 0x7F]);

    private static readonly Encoding Value = new ValueEncoding();
    private static readonly Encoding Connection = new ConnectionEncoding();
    private static readonly Encoding ContentLength = new ContentLengthEncoding();

    /// <summary>
    /// The encoding of a header's value: Latin-1, which preserves every byte. It fails on control characters, for
    /// which the server responds with 400.
    /// </summary>
    /// <exception cref="InvalidOperationException">The name is not a token. The server responds with 400.</exception>
    public static Encoding EncodingOf(string name)
    {
        switch (name.Length)
        {
            case 10 when name.Equals(HeaderNames.Connection, StringComparison.OrdinalIgnoreCase):
                return Connection;
            case 14 when name.Equals(HeaderNames.ContentLength, StringComparison.OrdinalIgnoreCase):
                return ContentLength;
            default:
                // The pseudo-headers of HTTP/2 begin with a colon; the server knows which exist.
                if (!HttpToken.IsToken(name.AsSpan(name.StartsWith(':') ? 1 : 0)))
                {
                    throw new InvalidOperationException("a header name is not a token");
                }
                return Value;
        }
    }

    /// <exception cref="DecoderFallbackException">The value contains a control character.</exception>
    private static void RejectControlCharacters(ReadOnlySpan<byte> value)
    {
        if (value.ContainsAny(ControlCharacters))
        {
            throw new DecoderFallbackException("a header value has a control character");
        }
    }

    /// <summary>Any header's value.</summary>
    private sealed class ValueEncoding : Latin1Decoding
    {
        // The server calls the overloads with pointers; the base class's overloads would copy into arrays.
        public override unsafe int GetCharCount(byte* bytes, int count)
        {
            RejectControlCharacters(new(bytes, count));
            return count;
        }

        public override unsafe int GetChars(byte* bytes, int byteCount, char* chars, int charCount) =>
            Latin1.GetChars(bytes, byteCount, chars, charCount);
    }

    /// <summary>
    /// When Connection contains exactly one of `close`, `keep-alive` and `upgrade`, the server replaces the whole value
    /// with that word, and the header names in it are lost. It keeps the value when it finds two of these words. So a
    /// value that names headers gets both `close` and `keep-alive`, of which `close` takes effect: the request is the
    /// last of its connection.
    /// </summary>
    private sealed class ConnectionEncoding : Latin1Decoding
    {
        private const string Kept = ", close, keep-alive";

        public override int GetCharCount(byte[] bytes, int index, int count) => Decode(bytes, index, count).Length;

        public override int GetChars(byte[] bytes, int byteIndex, int byteCount, char[] chars, int charIndex)
        {
            var text = Decode(bytes, byteIndex, byteCount);
            text.CopyTo(0, chars, charIndex, text.Length);
            return text.Length;
        }

        public override int GetMaxCharCount(int byteCount) => byteCount + Kept.Length;

        private static string Decode(byte[] bytes, int index, int count)
        {
            RejectControlCharacters(bytes.AsSpan(index, count));
            var text = Latin1.GetString(bytes, index, count);
            return HeaderRules.NamesOthers(text) ? text + Kept : text;
        }
    }

    /// <summary>RFC 9110, 8.6: digits only. The server would also accept a sign and any white space.</summary>
    private sealed class ContentLengthEncoding : Latin1Decoding
    {
        // The largest number that the server accepts has this many digits; it has no room for more.
        private const int MaxDigits = 19;

        public override int GetChars(ReadOnlySpan<byte> bytes, Span<char> chars)
        {
            if (bytes.Length > MaxDigits || bytes.ContainsAnyExceptInRange((byte)'0', (byte)'9'))
            {
                // Not a number, so that the server rejects it.
                chars[0] = '?';
                return 1;
            }
            return Latin1.GetChars(bytes, chars);
        }
    }

    /// <summary>Latin-1 as a base class; the server bypasses the methods of the original.</summary>
    private abstract class Latin1Decoding : Encoding
    {
        public override int GetByteCount(char[] chars, int index, int count) =>
            Latin1.GetByteCount(chars, index, count);

        public override int GetBytes(char[] chars, int charIndex, int charCount, byte[] bytes, int byteIndex) =>
            Latin1.GetBytes(chars, charIndex, charCount, bytes, byteIndex);

        public override int GetCharCount(byte[] bytes, int index, int count) =>
            Latin1.GetCharCount(bytes, index, count);

        public override int GetChars(byte[] bytes, int byteIndex, int byteCount, char[] chars, int charIndex) =>
            Latin1.GetChars(bytes, byteIndex, byteCount, chars, charIndex);

        public override int GetMaxByteCount(int charCount) => Latin1.GetMaxByteCount(charCount);

        public override int GetMaxCharCount(int byteCount) => Latin1.GetMaxCharCount(byteCount);
    }
}
