namespace Kedge.Wire.Http2.Hpack;

/// <summary>The fields of one decoded block, up to a limit.</summary>
/// <param name="limit">The limit for the total size of all fields, in bytes (RFC 9113, section 6.5.2).</param>
internal sealed class HeaderBlock(int limit)
{
    private HeaderField[] _fields = new HeaderField[16];

    public int Count { get; private set; }

    /// <summary>The size of the fields that are kept.</summary>
    public int Size { get; private set; }

    /// <summary>Whether fields beyond the limit were left out.</summary>
    public bool IsTooLarge { get; private set; }

    public ReadOnlySpan<HeaderField> Fields => _fields.AsSpan(0, Count);

    public bool HasRoomFor(int size) => !IsTooLarge && size <= limit - Size;

    /// <summary>Records that a field was left out.</summary>
    public void Exceed() => IsTooLarge = true;

    public void Add(in HeaderField field)
    {
        var size = field.Size;
        if (!HasRoomFor(size))
        {
            Exceed();
            return;
        }
        if (Count == _fields.Length)
        {
            Array.Resize(ref _fields, Count * 2);
        }
        _fields[Count++] = field;
        Size += size;
    }

    public void Clear()
    {
        // The objects that fields refer to are released when the fields are overwritten or, after a large block, now.
        if (Count > 64)
        {
            Array.Clear(_fields, 0, Count);
        }
        Count = 0;
        Size = 0;
        IsTooLarge = false;
    }
}
