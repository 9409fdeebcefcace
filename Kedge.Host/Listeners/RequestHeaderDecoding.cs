using System.Buffers;
using System.Text;
using Kedge.Host.Http;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Listeners;

/// <summary>
/// How the server turns the bytes of request headers into text. It asks for the encoding of every header before it makes
/// anything of the value, which is the one place to see what it would take too lightly, or take away.
/// </summary>
internal static class RequestHeaderDecoding
{
    // RFC 9110, 5.6.2.
    private static readonly SearchValues<char> TokenCharacters =
        SearchValues.Create("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    private static readonly Encoding Connection = new ConnectionEncoding();
    private static readonly Encoding ContentLength = new ContentLengthEncoding();

    /// <summary>The encoding of a header's value: the bytes as they are, whatever they are, as Latin-1 can tell them.</summary>
    /// <exception cref="InvalidOperationException">The name is no token. The server answers that with 400.</exception>
    public static Encoding EncodingOf(string name)
    {
        switch (name.Length)
        {
            case 10 when name.Equals(HeaderNames.Connection, StringComparison.OrdinalIgnoreCase):
                return Connection;
            case 14 when name.Equals(HeaderNames.ContentLength, StringComparison.OrdinalIgnoreCase):
                return ContentLength;
            default:
                // HTTP/2's pseudo headers have a colon in front; the server knows which there are.
                if (name.AsSpan(name.StartsWith(':') ? 1 : 0).ContainsAnyExcept(TokenCharacters))
                {
                    throw new InvalidOperationException("a header name that is no token");
                }
                return Encoding.Latin1;
        }
    }

    /// <summary>
    /// When the server finds exactly one of `close`, `keep-alive` and `upgrade` in the lines of Connection, it puts that word in
    /// the place of all of them, and the names beside it are gone. It leaves them alone when it finds two of these words: so
    /// lines that name headers get `close` and `keep-alive`, of which `close` counts. Such a request is the last of its connection.
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
            var text = Latin1.GetString(bytes, index, count);
            foreach (var c in text)
            {
                if (char.IsControl(c) && c != '\t')
                {
                    throw new DecoderFallbackException("a control character in Connection");
                }
            }
            return HeaderRules.NamesOthers(text) ? text + Kept : text;
        }
    }

    /// <summary>RFC 9110, 8.6: digits and nothing else. The server also takes a sign, and white space of all kinds.</summary>
    private sealed class ContentLengthEncoding : Latin1Decoding
    {
        // More than that the server has no room for; the largest number it takes has as many.
        private const int MostDigits = 19;

        public override int GetChars(ReadOnlySpan<byte> bytes, Span<char> chars)
        {
            if (bytes.Length > MostDigits || bytes.ContainsAnyExceptInRange((byte)'0', (byte)'9'))
            {
                // No number, so that the server refuses it.
                chars[0] = '?';
                return 1;
            }
            return Latin1.GetChars(bytes, chars);
        }
    }

    /// <summary>Latin-1 as a base; the server goes past the methods of the original.</summary>
    private abstract class Latin1Decoding : Encoding
    {
        public override int GetByteCount(char[] chars, int index, int count) => Latin1.GetByteCount(chars, index, count);

        public override int GetBytes(char[] chars, int charIndex, int charCount, byte[] bytes, int byteIndex) =>
            Latin1.GetBytes(chars, charIndex, charCount, bytes, byteIndex);

        public override int GetCharCount(byte[] bytes, int index, int count) => Latin1.GetCharCount(bytes, index, count);

        public override int GetChars(byte[] bytes, int byteIndex, int byteCount, char[] chars, int charIndex) =>
            Latin1.GetChars(bytes, byteIndex, byteCount, chars, charIndex);

        public override int GetMaxByteCount(int charCount) => Latin1.GetMaxByteCount(charCount);

        public override int GetMaxCharCount(int byteCount) => Latin1.GetMaxCharCount(byteCount);
    }
}
