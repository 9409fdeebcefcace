using System.Buffers;

namespace Kedge.Wire.Transport;

/// <summary>A part of the received bytes: a pooled array, filled up to <see cref="End"/>.</summary>
internal sealed class InputSegment : ReadOnlySequenceSegment<byte>
{
    private byte[] _array = [];

    public int End { get; private set; }

    /// <summary>The part that may still be filled.</summary>
    public Span<byte> Free => _array.AsSpan(End);

    public InputSegment? Following => (InputSegment?)Next;

    public void Rent(int size)
    {
        _array = ArrayPool<byte>.Shared.Rent(size);
        End = 0;
        Memory = default;
        RunningIndex = 0;
        Next = null;
    }

    public void Filled(int count)
    {
        End += count;
        Memory = _array.AsMemory(0, End);
    }

    public void Append(InputSegment next)
    {
        next.RunningIndex = RunningIndex + End;
        Next = next;
    }

    public void Return()
    {
        ArrayPool<byte>.Shared.Return(_array);
        _array = [];
        Memory = default;
        Next = null;
        End = 0;
    }
}
