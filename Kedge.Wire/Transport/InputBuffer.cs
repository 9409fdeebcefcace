using System.Buffers;

namespace Kedge.Wire.Transport;

/// <summary>
/// The bytes that were received on a connection but not consumed, as a pipe reader sees them. Holds no memory while it
/// is empty.
/// </summary>
internal struct InputBuffer
{
    private const int LeastRead = 4096;
    private const int MostRead = 32 * 1024;

    // Room smaller than this is left unused.
    private const int LeastRoom = 1024;

    private InputSegment? _first;
    private InputSegment? _last;
    private InputSegment? _spare;
    private int _start;
    private int _readSize;
    // Counted from the start of the buffered bytes.
    private long _examined;

    public InputBuffer()
    {
        _readSize = LeastRead;
    }

    /// <summary>How many bytes are buffered.</summary>
    public long Length { get; private set; }

    /// <summary>Whether there are bytes that the reader has not examined.</summary>
    public readonly bool HasUnexamined => Length > _examined;

    public readonly ReadOnlySequence<byte> Content =>
        Length == 0 ? ReadOnlySequence<byte>.Empty : new(_first!, _start, _last!, _last!.End);

    /// <summary>Room for the next bytes.</summary>
    public Span<byte> Room()
    {
        if (_last is null || _last.Free.Length < LeastRoom)
        {
            var segment = _spare ?? new InputSegment();
            _spare = null;
            segment.Rent(_readSize);
            if (_last is null)
            {
                _first = segment;
                _start = 0;
            }
            else
            {
                _last.Append(segment);
            }
            _last = segment;
        }
        return _last.Free;
    }

    /// <summary>Commits the bytes written to the room; 0 returns it unused.</summary>
    public void Filled(int count)
    {
        var last = _last!;
        // Large content is received in large pieces, which takes fewer system calls.
        _readSize = count == last.Free.Length ? Math.Min(MostRead, 2 * _readSize)
            : count < _readSize / 4 ? LeastRead
            : _readSize;
        last.Filled(count);
        Length += count;
        if (Length == 0)
        {
            Clear();
        }
    }

    /// <summary>The reader has consumed some of the bytes, and examined some of the rest.</summary>
    /// <param name="consumed">A position in the previous <see cref="Content"/>, like the examined one.</param>
    public void Advance(SequencePosition consumed, SequencePosition examined)
    {
        var consumedBytes = Offset(consumed);
        _examined = Math.Max(Offset(examined), consumedBytes) - consumedBytes;
        if (consumedBytes == 0)
        {
            return;
        }
        Length -= consumedBytes;
        if (Length == 0)
        {
            Clear();
            return;
        }
        var segment = (InputSegment)consumed.GetObject()!;
        while (_first != segment)
        {
            var gone = _first!;
            _first = gone.Following;
            gone.Return();
            _spare = gone;
        }
        _start = consumed.GetInteger();
    }

    /// <summary>Drops all bytes.</summary>
    public void Clear()
    {
        while (_first is { } segment)
        {
            _first = segment.Following;
            segment.Return();
            _spare = segment;
        }
        _last = null;
        _start = 0;
        _examined = 0;
        Length = 0;
    }

    private readonly long Offset(SequencePosition position)
    {
        // The position of an empty sequence is in none of these segments.
        if (position.GetObject() is not InputSegment segment || _first is null)
        {
            return 0;
        }
        var offset = segment.RunningIndex + position.GetInteger() - _first.RunningIndex - _start;
        if (offset < 0 || offset > Length)
        {
            throw new InvalidOperationException("the position is not in what was read");
        }
        return offset;
    }
}
