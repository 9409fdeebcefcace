using System.Buffers;

namespace Kedge.Wire.Http2;

/// <summary>Collects bytes for one write.</summary>
internal sealed class OutputBuffer
{
    private const int Least = 4096;
    // A larger array is not kept for the next write.
    private const int MostKept = 64 * 1024;

    private byte[] _bytes = [];

    public int Length { get; private set; }

    public ReadOnlyMemory<byte> Memory => _bytes.AsMemory(0, Length);

    /// <summary>The collected bytes, which may be changed.</summary>
    public Span<byte> Written => _bytes.AsSpan(0, Length);

    /// <summary>
    /// Reserves room for at least this many bytes. <see cref="Advance"/> commits those that were written into it.
    /// </summary>
    public Span<byte> Reserve(int size)
    {
        if (_bytes.Length - Length < size)
        {
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(Least, Math.Max(_bytes.Length * 2, Length + size)));
            Written.CopyTo(larger);
            Release();
            _bytes = larger;
        }
        return _bytes.AsSpan(Length);
    }

    public void Advance(int count) => Length += count;

    public void Append(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Reserve(bytes.Length));
        Length += bytes.Length;
    }

    /// <summary>Removes the bytes that were added last.</summary>
    /// <param name="length">How many bytes remain.</param>
    public void Truncate(int length) => Length = length;

    /// <summary>Empties the buffer after its bytes were written.</summary>
    public void Clear()
    {
        Length = 0;
        if (_bytes.Length > MostKept)
        {
            Release();
        }
    }

    /// <summary>Empties the buffer and gives back its memory.</summary>
    public void Free()
    {
        Length = 0;
        Release();
    }

    private void Release()
    {
        if (_bytes.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_bytes);
            _bytes = [];
        }
    }
}
