using System.Numerics;

namespace Kedge.Wire.Http2.Hpack;

/// <summary>The Huffman code of RFC 7541, appendix B.</summary>
/// <remarks>
/// The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and each length
/// continues where the shorter one ended. The lengths alone therefore define it.
/// </remarks>
internal static class HpackHuffman
{
    private const int EndOfString = 256;
    private const int MaxLength = 30;

    private static readonly uint[] Codes = new uint[257];

    // Indexed by the first eight bits: the symbol and its length, or length 0 where the code is longer.
    private static readonly (byte Symbol, byte Length)[] Short = new (byte, byte)[256];

    // For each length: the first 32-bit prefix beyond the codes of that length, the prefix of its first code, and the
    // index of its first symbol.
    private static readonly ulong[] Limits = new ulong[MaxLength + 1];
    private static readonly uint[] Firsts = new uint[MaxLength + 1];
    private static readonly int[] Offsets = new int[MaxLength + 1];
    private static readonly ushort[] Symbols = new ushort[257];

    static HpackHuffman()
    {
        uint code = 0;
        var next = 0;
        for (var length = 1; length <= MaxLength; length++)
        {
            code <<= 1;
            Firsts[length] = code << (32 - length);
            Offsets[length] = next;
            for (var symbol = 0; symbol <= EndOfString; symbol++)
            {
                if (Lengths[symbol] == length)
                {
                    Codes[symbol] = code++;
                    Symbols[next++] = (ushort)symbol;
                }
            }
            Limits[length] = (ulong)code << (32 - length);
        }
        for (var symbol = 0; symbol < EndOfString; symbol++)
        {
            int length = Lengths[symbol];
            if (length <= 8)
            {
                Short.AsSpan((int)(Codes[symbol] << (8 - length)), 1 << (8 - length))
                    .Fill(((byte)symbol, (byte)length));
            }
        }
    }

    private static ReadOnlySpan<byte> Lengths =>
    [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
        28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
        6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
        5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
        13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
        15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
        6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
        20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
        24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
        22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
        21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
        26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
        19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
        20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
        26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
        30,
    ];

    /// <summary>The most bytes that this many encoded bytes can decode to: the shortest code has five bits.</summary>
    public static int MaxDecodedLength(int encodedLength) => (int)((long)encodedLength * 8 / 5);

    /// <summary>The length of the encoded form in bytes, padding included.</summary>
    public static int EncodedLength(ReadOnlySpan<byte> text)
    {
        var lengths = Lengths;
        long bits = 0;
        foreach (var symbol in text)
        {
            bits += lengths[symbol];
        }
        return (int)((bits + 7) / 8);
    }

    /// <summary>Encodes into a span of at least <see cref="EncodedLength"/> bytes.</summary>
    /// <returns>How many bytes were written.</returns>
    public static int Encode(ReadOnlySpan<byte> text, Span<byte> destination)
    {
        var lengths = Lengths;
        ulong bits = 0;
        var count = 0;
        var written = 0;
        foreach (var symbol in text)
        {
            int length = lengths[symbol];
            bits = (bits << length) | Codes[symbol];
            count += length;
            while (count >= 8)
            {
                count -= 8;
                destination[written++] = (byte)(bits >> count);
            }
        }
        if (count > 0)
        {
            // Padding is the beginning of the end-of-string symbol: ones (RFC 7541, section 5.2).
            destination[written++] = (byte)((bits << (8 - count)) | (0xFFu >> count));
        }
        return written;
    }

    /// <summary>Decodes into a span of at least <see cref="MaxDecodedLength"/> bytes.</summary>
    /// <returns>False for what RFC 7541, section 5.2 forbids: the end-of-string symbol, and padding that is longer than
    /// seven bits or contains a zero.</returns>
    public static bool TryDecode(ReadOnlySpan<byte> source, Span<byte> destination, out int written)
    {
        written = 0;
        // The bits to read next, from the highest bit down.
        ulong bits = 0;
        var count = 0;
        var position = 0;
        while (true)
        {
            while (count <= 56 && position < source.Length)
            {
                bits |= (ulong)source[position++] << (56 - count);
                count += 8;
            }
            var (symbol, length) = Short[bits >> 56];
            if (length == 0)
            {
                var prefix = (uint)(bits >> 32);
                length = 9;
                while (length < MaxLength && prefix >= Limits[length])
                {
                    length++;
                }
                if (length > count)
                {
                    break;
                }
                var at = Offsets[length] + (int)((prefix - Firsts[length]) >> (32 - length));
                if (at >= EndOfString)
                {
                    return false;
                }
                symbol = (byte)Symbols[at];
            }
            else if (length > count)
            {
                break;
            }
            destination[written++] = symbol;
            bits <<= length;
            count -= length;
        }
        return count < 8 && BitOperations.LeadingZeroCount(~bits) >= count;
    }
}
