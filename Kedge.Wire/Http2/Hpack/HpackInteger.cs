namespace Kedge.Wire.Http2.Hpack;

/// <summary>Integers with an N-bit prefix (RFC 7541, section 5.1).</summary>
internal static class HpackInteger
{
    /// <summary>The most bytes that an integer of 31 bits can take.</summary>
    public const int MaxLength = 6;

    /// <summary>Reads an integer of at most 31 bits.</summary>
    /// <param name="source">The block.</param>
    /// <param name="position">Where the integer begins; on return, where it ends.</param>
    /// <param name="prefixBits">The size of the prefix, 1 to 8 bits.</param>
    /// <param name="value">The integer.</param>
    /// <returns>False when the block ends within the integer, or the integer has more than 31 bits or more than
    /// <see cref="MaxLength"/> bytes.</returns>
    public static bool TryRead(ReadOnlySpan<byte> source, ref int position, int prefixBits, out int value)
    {
        value = 0;
        if (position >= source.Length)
        {
            return false;
        }
        var mask = (1 << prefixBits) - 1;
        var prefix = source[position++] & mask;
        if (prefix < mask)
        {
            value = prefix;
            return true;
        }
        long sum = prefix;
        for (var shift = 0; shift <= 28; shift += 7)
        {
            if (position >= source.Length)
            {
                return false;
            }
            var next = source[position++];
            sum += (long)(next & 0x7F) << shift;
            if ((next & 0x80) == 0)
            {
                value = (int)sum;
                return sum <= int.MaxValue;
            }
        }
        return false;
    }

    /// <summary>Writes a non-negative integer into a span of at least <see cref="MaxLength"/> bytes.</summary>
    /// <param name="destination">Where to write.</param>
    /// <param name="pattern">The bits of the first byte above the prefix.</param>
    /// <param name="prefixBits">The size of the prefix, 1 to 8 bits.</param>
    /// <param name="value">The integer.</param>
    /// <returns>How many bytes were written.</returns>
    public static int Write(Span<byte> destination, byte pattern, int prefixBits, int value)
    {
        var mask = (1 << prefixBits) - 1;
        if (value < mask)
        {
            destination[0] = (byte)(pattern | value);
            return 1;
        }
        destination[0] = (byte)(pattern | mask);
        var rest = (uint)(value - mask);
        var written = 1;
        while (rest >= 0x80)
        {
            destination[written++] = (byte)(rest | 0x80);
            rest >>= 7;
        }
        destination[written++] = (byte)rest;
        return written;
    }
}
