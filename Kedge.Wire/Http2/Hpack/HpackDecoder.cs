using System.Numerics;
using System.Text;

namespace Kedge.Wire.Http2.Hpack;

/// <summary>Decodes the header blocks of one connection, in order (RFC 7541).</summary>
internal sealed class HpackDecoder
{
    private const int RecentNames = 32;
    private const int RecentValues = 64;
    private const int LongestRecent = 96;

    private readonly int _maxTableSize;

    // The dynamic table: the newest entry is at _newest, older ones follow; the length is a power of two.
    private readonly HeaderField[] _entries;
    private int _newest;
    private int _count;
    private int _size;
    private int _sizeLimit;

    // The latest names and values, so that a repeated one is not allocated again.
    private readonly HeaderName?[] _recentNames = new HeaderName?[RecentNames];
    private readonly string?[] _recentValues = new string?[RecentValues];
    private byte[] _decoded = [];

    /// <param name="maxTableSize">The value of SETTINGS_HEADER_TABLE_SIZE, in bytes.</param>
    public HpackDecoder(int maxTableSize)
    {
        _maxTableSize = maxTableSize;
        _sizeLimit = maxTableSize;
        _entries = new HeaderField[
            BitOperations.RoundUpToPowerOf2((uint)Math.Max(1, maxTableSize / HeaderField.Overhead))];
    }

    /// <summary>The size of the dynamic table, in bytes, as RFC 7541, section 4.1 counts it.</summary>
    public int TableSize => _size;

    /// <summary>Decodes a whole block.</summary>
    /// <param name="source">All fragments of the block, one after the other.</param>
    /// <param name="block">Emptied, then filled with the fields up to its limit. Fields beyond the limit are decoded,
    /// since later blocks may refer to them, but not kept.</param>
    /// <returns>False when the block is malformed, a connection error of type COMPRESSION_ERROR.</returns>
    public bool TryDecode(ReadOnlySpan<byte> source, HeaderBlock block)
    {
        block.Clear();
        var position = 0;
        var mayResize = true;
        while (position < source.Length)
        {
            var first = source[position];
            if ((first & 0xE0) == 0x20)
            {
                // RFC 7541, section 4.2: a size update is allowed only at the beginning of a block, and not above the
                // setting.
                if (!mayResize
                    || !HpackInteger.TryRead(source, ref position, 5, out var limit)
                    || limit > _maxTableSize)
                {
                    return false;
                }
                _sizeLimit = limit;
                Evict(limit);
                continue;
            }
            mayResize = false;
            if ((first & 0x80) != 0)
            {
                if (!HpackInteger.TryRead(source, ref position, 7, out var index) || !TryFind(index, out var field))
                {
                    return false;
                }
                block.Add(field);
            }
            else if (!TryReadLiteral(source, ref position, first, block))
            {
                return false;
            }
        }
        return true;
    }

    private bool TryReadLiteral(ReadOnlySpan<byte> source, ref int position, byte first, HeaderBlock block)
    {
        var isIndexed = (first & 0x40) != 0;
        if (!HpackInteger.TryRead(source, ref position, isIndexed ? 6 : 4, out var index))
        {
            return false;
        }
        HeaderName name;
        if (index > 0)
        {
            if (!TryFind(index, out var named))
            {
                return false;
            }
            name = named.Name;
        }
        else
        {
            if (!TryReadText(source, ref position, out var bytes))
            {
                return false;
            }
            name = Name(bytes);
        }
        if (!TryReadText(source, ref position, out var value))
        {
            return false;
        }
        var size = name.Text.Length + value.Length + HeaderField.Overhead;
        if (!isIndexed && !block.HasRoomFor(size))
        {
            block.Exceed();
            return true;
        }
        var field = new HeaderField(name, Text(name, value), HeaderField.IsSoundValue(value));
        if (isIndexed)
        {
            Insert(field, size);
        }
        block.Add(field);
        return true;
    }

    private bool TryReadText(ReadOnlySpan<byte> source, ref int position, out ReadOnlySpan<byte> text)
    {
        text = default;
        if (position >= source.Length)
        {
            return false;
        }
        var isHuffman = (source[position] & 0x80) != 0;
        if (!HpackInteger.TryRead(source, ref position, 7, out var length) || length > source.Length - position)
        {
            return false;
        }
        text = source.Slice(position, length);
        position += length;
        if (!isHuffman)
        {
            return true;
        }
        var most = HpackHuffman.MaxDecodedLength(length);
        if (_decoded.Length < most)
        {
            _decoded = new byte[Math.Max(256, (int)BitOperations.RoundUpToPowerOf2((uint)most))];
        }
        if (!HpackHuffman.TryDecode(text, _decoded, out var written))
        {
            return false;
        }
        text = _decoded.AsSpan(0, written);
        return true;
    }

    private HeaderName Name(ReadOnlySpan<byte> name)
    {
        if (HeaderName.FindCommon(name) is { } common)
        {
            return common;
        }
        if (name.Length is 0 or > LongestRecent)
        {
            return HeaderName.Of(name);
        }
        ref var recent = ref _recentNames[((name.Length * 7) ^ name[0] ^ (name[^1] << 2)) & (RecentNames - 1)];
        return recent is not null && IsSame(recent.Text, name) ? recent : recent = HeaderName.Of(name);
    }

    private string Text(HeaderName name, ReadOnlySpan<byte> value)
    {
        if (value.Length is 0 or > LongestRecent || name.IsSecret)
        {
            return value.IsEmpty ? "" : Encoding.Latin1.GetString(value);
        }
        ref var recent = ref _recentValues[(name.Hash ^ (value.Length * 7) ^ value[^1]) & (RecentValues - 1)];
        return recent is not null && IsSame(recent, value) ? recent : recent = Encoding.Latin1.GetString(value);
    }

    private static bool IsSame(string text, ReadOnlySpan<byte> bytes)
    {
        if (text.Length != bytes.Length)
        {
            return false;
        }
        for (var i = 0; i < bytes.Length; i++)
        {
            if (text[i] != bytes[i])
            {
                return false;
            }
        }
        return true;
    }

    private bool TryFind(int index, out HeaderField field)
    {
        if (index is > 0 and <= HpackStaticTable.Count)
        {
            field = HpackStaticTable.At(index);
            return true;
        }
        var age = index - HpackStaticTable.Count - 1;
        if (age < 0 || age >= _count)
        {
            field = default;
            return false;
        }
        field = _entries[(_newest + age) & (_entries.Length - 1)];
        return true;
    }

    private void Insert(in HeaderField field, int size)
    {
        // RFC 7541, section 4.4: an entry that is larger than the table empties it.
        Evict(Math.Max(0, _sizeLimit - size));
        if (size > _sizeLimit)
        {
            return;
        }
        _newest = (_newest - 1) & (_entries.Length - 1);
        _entries[_newest] = field;
        _count++;
        _size += size;
    }

    private void Evict(int limit)
    {
        while (_size > limit)
        {
            ref var oldest = ref _entries[(_newest + --_count) & (_entries.Length - 1)];
            _size -= oldest.Size;
            oldest = default;
        }
    }
}
