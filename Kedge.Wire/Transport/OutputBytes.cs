using System.Buffers;

namespace Kedge.Wire.Transport;

/// <summary>Bytes to send, in one pooled array. There is no array while there are no bytes.</summary>
internal struct OutputBytes
{
    private const int Least = 4096;

    private byte[]? _array;
    private int _start;
    private int _end;

    public readonly int Length => _end - _start;

    public readonly ReadOnlySpan<byte> Span => _array.AsSpan(_start, _end - _start);

    /// <summary>Returns room at the end for at least this many bytes, and at least one.</summary>
    public Memory<byte> Room(int size)
    {
        size = Math.Max(1, size);
        if (_array is null || _array.Length - _end < size)
        {
            var larger = ArrayPool<byte>.Shared.Rent(
                Math.Max(Length + size, Length == 0 ? Least : (int)Math.Min(4L * Length, Array.MaxLength)));
            Span.CopyTo(larger);
            var length = Length;
            Clear();
            _array = larger;
            _end = length;
        }
        return _array.AsMemory(_end);
    }

    /// <summary>Commits the bytes written to the room.</summary>
    public void Added(int count)
    {
        if (count < 0 || count > (_array?.Length ?? 0) - _end)
        {
            throw new ArgumentOutOfRangeException(nameof(count), count, "it is more than there is room for");
        }
        _end += count;
    }

    public void Add(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > 0)
        {
            bytes.CopyTo(Room(bytes.Length).Span);
            _end += bytes.Length;
        }
    }

    /// <summary>Takes all bytes from another instance, which is empty afterwards.</summary>
    public void TakeOver(ref OutputBytes other)
    {
        if (Length == 0)
        {
            Clear();
            (this, other) = (other, this);
        }
        else
        {
            Add(other.Span);
            other.Clear();
        }
    }

    /// <summary>Removes the first bytes, which were sent.</summary>
    public void Sent(int count)
    {
        _start += count;
        if (_start == _end)
        {
            Clear();
        }
    }

    public void Clear()
    {
        if (_array is not null)
        {
            ArrayPool<byte>.Shared.Return(_array);
        }
        _array = null;
        _start = _end = 0;
    }
}
