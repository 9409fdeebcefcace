using System.Numerics;
using System.Text;

namespace Kedge.Wire.Http2.Hpack;

/// <summary>
/// Encodes the header blocks of one connection, in order (RFC 7541). The names and values must be sound, since a block
/// cannot be undone once it has begun.
/// </summary>
/// <remarks>
/// A field enters the dynamic table when it occurs for the second time within a short while, so values that occur only
/// once, such as request IDs, evict nothing. Values of secret fields never enter it (RFC 7541, section 7.1).
/// </remarks>
internal sealed class HpackEncoder
{
    // A longer value is not looked up, as it seldom repeats and would fill the table.
    private const int LongestIndexed = 512;
    private const int MemorySlots = 256;

    private readonly int _maxTableSize;
    private readonly bool _usesHuffman;

    // The dynamic table: entry number n, counted from the first one ever, is at n modulo the length.
    private readonly Entry[] _entries;
    private long _inserted;
    private int _count;
    private int _size;
    private int _sizeLimit;

    // Where an entry with a certain hash may be: its number, or that of an evicted entry.
    private readonly long[] _numbers = new long[MemorySlots];
    // Hashes of fields that were encoded as literals.
    private readonly int[] _seen = new int[MemorySlots];

    private int? _lowestUpdate;
    private byte[] _scratch = [];

    /// <param name="maxTableSize">The limit for the size of the dynamic table, in bytes, even if the peer permits more.
    /// </param>
    /// <param name="usesHuffman">Whether texts are Huffman-encoded, which costs both sides time.</param>
    public HpackEncoder(int maxTableSize, bool usesHuffman)
    {
        _maxTableSize = maxTableSize;
        _usesHuffman = usesHuffman;
        // The peer's setting is 4,096 until it says otherwise (RFC 9113, section 6.5.2).
        _sizeLimit = Math.Min(4096, maxTableSize);
        if (maxTableSize < 4096)
        {
            _lowestUpdate = maxTableSize;
        }
        _entries = new Entry[BitOperations.RoundUpToPowerOf2((uint)Math.Max(1, maxTableSize / HeaderField.Overhead))];
        Array.Fill(_numbers, -1);
    }

    /// <summary>The size of the dynamic table, in bytes, as RFC 7541, section 4.1 counts it.</summary>
    public int TableSize => _size;

    /// <summary>Applies the peer's SETTINGS_HEADER_TABLE_SIZE.</summary>
    public void Resize(uint size)
    {
        var limit = (int)Math.Min(size, (uint)_maxTableSize);
        if (limit == _sizeLimit)
        {
            return;
        }
        // RFC 7541, section 4.2: the lowest size in between must be sent, too.
        _lowestUpdate = Math.Min(limit, _lowestUpdate ?? int.MaxValue);
        _sizeLimit = limit;
        Evict(limit);
    }

    /// <summary>Begins a block.</summary>
    public void Begin(OutputBuffer output)
    {
        if (_lowestUpdate is not { } lowest)
        {
            return;
        }
        var span = output.Reserve(2 * HpackInteger.MaxLength);
        var written = HpackInteger.Write(span, 0x20, 5, lowest);
        if (_sizeLimit != lowest)
        {
            written += HpackInteger.Write(span[written..], 0x20, 5, _sizeLimit);
        }
        output.Advance(written);
        _lowestUpdate = null;
    }

    /// <summary>Adds a field. The name may be in any case.</summary>
    public void Add(OutputBuffer output, string name, string value)
    {
        if (HeaderName.FindCommon(name) is { } common)
        {
            Add(output, common, value);
            return;
        }
        var hash = HashCode.Combine(string.GetHashCode(name, StringComparison.OrdinalIgnoreCase), Hash(value));
        if (TryWriteIndexed(output, hash, name, value))
        {
            return;
        }
        var isIndexed = WasSeen(hash, value.Length);
        var span = output.Reserve(1 + (2 * HpackInteger.MaxLength) + name.Length + value.Length);
        span[0] = isIndexed ? (byte)0x40 : (byte)0;
        var written = 1;
        written += HpackInteger.Write(span[written..], 0, 7, name.Length);
        Ascii.ToLower(name, span[written..], out var length);
        written += length;
        output.Advance(written + WriteText(span[written..], value));
        if (isIndexed)
        {
            Insert(hash, name, value);
        }
    }

    /// <summary>Adds a field with a common name.</summary>
    public void Add(OutputBuffer output, HeaderName name, string value)
    {
        var span = output.Reserve(1 + (4 * HpackInteger.MaxLength) + name.Text.Length + value.Length);
        if (name.IsSecret)
        {
            output.Advance(WriteLiteral(span, 0x10, 4, name, value));
            return;
        }
        if (HpackStaticTable.Find(name, value) is > 0 and var index)
        {
            output.Advance(HpackInteger.Write(span, 0x80, 7, index));
            return;
        }
        var hash = HashCode.Combine(name.Hash, Hash(value));
        if (TryWriteIndexed(output, hash, name.Text, value))
        {
            return;
        }
        if (WasSeen(hash, value.Length))
        {
            output.Advance(WriteLiteral(span, 0x40, 6, name, value));
            Insert(hash, name.Text, value);
        }
        else
        {
            output.Advance(WriteLiteral(span, 0, 4, name, value));
        }
    }

    private int WriteLiteral(Span<byte> span, byte pattern, int prefixBits, HeaderName name, string value)
    {
        var written = HpackInteger.Write(span, pattern, prefixBits, name.StaticIndex);
        if (name.StaticIndex == 0)
        {
            written += WriteText(span[written..], name.Text);
        }
        return written + WriteText(span[written..], value);
    }

    private int WriteText(Span<byte> span, string text)
    {
        if (!_usesHuffman)
        {
            var prefix = HpackInteger.Write(span, 0, 7, text.Length);
            return prefix + Encoding.Latin1.GetBytes(text, span[prefix..]);
        }
        if (_scratch.Length < text.Length)
        {
            _scratch = new byte[Math.Max(256, (int)BitOperations.RoundUpToPowerOf2((uint)text.Length))];
        }
        var bytes = _scratch.AsSpan(0, Encoding.Latin1.GetBytes(text, _scratch));
        var length = HpackHuffman.EncodedLength(bytes);
        int written;
        if (length < bytes.Length)
        {
            written = HpackInteger.Write(span, 0x80, 7, length);
            return written + HpackHuffman.Encode(bytes, span[written..]);
        }
        written = HpackInteger.Write(span, 0, 7, bytes.Length);
        bytes.CopyTo(span[written..]);
        return written + bytes.Length;
    }

    private static int Hash(string value) => value.Length <= LongestIndexed ? value.GetHashCode() : 0;

    private bool TryWriteIndexed(OutputBuffer output, int hash, string name, string value)
    {
        var number = _numbers[hash & (MemorySlots - 1)];
        if (number < _inserted - _count)
        {
            return false;
        }
        ref readonly var entry = ref _entries[number & (_entries.Length - 1)];
        if (entry.Hash != hash || entry.Value != value || !entry.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        {
            return false;
        }
        var index = HpackStaticTable.Count + (int)(_inserted - number);
        output.Advance(HpackInteger.Write(output.Reserve(HpackInteger.MaxLength), 0x80, 7, index));
        return true;
    }

    /// <summary>Whether a field with this hash occurred a short while ago, so that it may enter the table.</summary>
    private bool WasSeen(int hash, int length)
    {
        if (length > LongestIndexed || _sizeLimit == 0)
        {
            return false;
        }
        ref var seen = ref _seen[(hash >> 8) & (MemorySlots - 1)];
        if (seen == hash)
        {
            return true;
        }
        seen = hash;
        return false;
    }

    private void Insert(int hash, string name, string value)
    {
        var size = name.Length + value.Length + HeaderField.Overhead;
        Evict(Math.Max(0, _sizeLimit - size));
        if (size > _sizeLimit)
        {
            return;
        }
        _entries[_inserted & (_entries.Length - 1)] = new Entry(hash, name, value, size);
        _numbers[hash & (MemorySlots - 1)] = _inserted++;
        _count++;
        _size += size;
    }

    private void Evict(int limit)
    {
        while (_size > limit)
        {
            ref var oldest = ref _entries[(_inserted - _count) & (_entries.Length - 1)];
            _size -= oldest.Size;
            oldest = default;
            _count--;
        }
    }

    private readonly record struct Entry(int Hash, string Name, string Value, int Size);
}
