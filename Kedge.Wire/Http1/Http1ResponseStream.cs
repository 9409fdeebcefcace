using System.Runtime.CompilerServices;
using Kedge.Wire.Sockets;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http1;

/// <summary>The content of a response, as it arrives. Releases the connection at its end.</summary>
internal sealed class Http1ResponseStream(
    Http1Connection connection, UpstreamResponse response, ResponseFraming framing) : AsyncOnlyStream
{
    private readonly ContentFraming _framing = framing.Framing;
    private long _remaining = framing.ContentLength ?? long.MaxValue;
    private ChunkedDecoder _decoder;
    private FieldSectionParser? _trailers;
    private bool _hasRead;
    private bool _hasEnded;
    private bool _hasFailed;

    public override bool CanRead => true;

    public override bool CanWrite => false;

    // A read into an empty buffer spares the reader a real one while it waits. Once the reader has read some content,
    // it does no harm if it waits with a real buffer now and then, and each read takes one system call less. The first
    // time, the result must be exact: before it waits, the reader sends the part of the response that it has.
    private bool NeedsNoWait => _hasRead && connection.Channel.MayBeReadable;

    /// <summary>
    /// Reads, synchronously if it can. With an empty buffer, waits until bytes can be read or the end is known.
    /// </summary>
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_hasEnded)
        {
            return new(0);
        }
        if (_hasFailed)
        {
            return ValueTask.FromException<int>(connection.Ended());
        }
        if (_framing == ContentFraming.Chunked)
        {
            return ReadChunkedAsync(buffer);
        }
        var buffered = connection.Buffered;
        if (buffered.Length > 0)
        {
            var count = (int)Math.Min(_remaining, Math.Min(buffered.Length, buffer.Length));
            buffered[..count].CopyTo(buffer.Span);
            connection.Consume(count);
            return new(Received(count));
        }
        if (buffer.IsEmpty && NeedsNoWait)
        {
            return new(0);
        }
        if (buffer.Length > _remaining)
        {
            buffer = buffer[..(int)_remaining];
        }
        var read = connection.Channel.ReadAsync(buffer, CancellationToken.None);
        return AwaitAsync(read, buffer.Length);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing && !_hasEnded)
        {
            _hasEnded = true;
            connection.Close();
            connection.EndResponse();
        }
        base.Dispose(disposing);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> AwaitAsync(ValueTask<int> read, int wanted)
    {
        int count;
        try
        {
            count = await read;
        }
        catch (Exception e)
        {
            _hasFailed = true;
            throw connection.Fail(e);
        }
        if (count > 0 || wanted == 0)
        {
            return Received(count);
        }
        if (_framing == ContentFraming.UntilClose)
        {
            End();
            return 0;
        }
        _hasFailed = true;
        throw connection.Fail(connection.Ended());
    }

    private int Received(int count)
    {
        _remaining -= count;
        _hasRead |= count > 0;
        if (_remaining == 0)
        {
            End();
        }
        return count;
    }

    private ValueTask<int> ReadChunkedAsync(Memory<byte> buffer)
    {
        if (connection.Buffered.Length > 0)
        {
            if (!_decoder.TryDecode(connection.Buffered, buffer.Span, out var consumed, out var written))
            {
                _hasFailed = true;
                return ValueTask.FromException<int>(connection.Fail(Malformed()));
            }
            connection.Consume(consumed);
            _hasRead |= written > 0;
            if (written > 0 || (buffer.IsEmpty && connection.Buffered.Length > 0 && !_decoder.HasEnded))
            {
                return new(written);
            }
        }
        return ReadMoreAsync(buffer);
    }

    /// <summary>Reads content from the channel: the connection's buffer contains none.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> ReadMoreAsync(Memory<byte> buffer)
    {
        try
        {
            while (!_decoder.HasEnded)
            {
                if (buffer.IsEmpty && NeedsNoWait)
                {
                    return 0;
                }
                // Decoded in place, so that large content is copied only once.
                var count = await connection.Channel.ReadAsync(buffer);
                if (buffer.IsEmpty)
                {
                    return 0;
                }
                if (count == 0)
                {
                    throw connection.Ended();
                }
                var bytes = buffer.Span[..count];
                if (!_decoder.TryDecode(bytes, bytes, out var consumed, out var written))
                {
                    throw Malformed();
                }
                if (consumed < count)
                {
                    connection.Unread(buffer.Span[consumed..count]);
                }
                if (written > 0)
                {
                    _hasRead = true;
                    return written;
                }
            }
            await ReadTrailersAsync();
            End();
            return 0;
        }
        catch (Exception e)
        {
            _hasFailed = true;
            throw connection.Fail(e);
        }
    }

    private async ValueTask ReadTrailersAsync()
    {
        if (_trailers is null)
        {
            _trailers = new FieldSectionParser(connection.Options.MaxHeadBytes);
            _trailers.Reset();
        }
        while (true)
        {
            switch (_trailers.Parse(connection.Buffered, out var consumed))
            {
                case ParseStatus.Complete:
                    connection.Consume(consumed);
                    response.Trailers = _trailers.Fields.Count > 0 ? _trailers.Fields : null;
                    return;
                case ParseStatus.Malformed:
                    throw connection.Failure(FailureKind.MalformedResponse, $"in its trailers, {_trailers.Error}");
                case ParseStatus.TooLarge:
                    throw connection.Failure(
                        FailureKind.HeadTooLarge,
                        $"the response trailers exceed {connection.Options.MaxHeadBytes} bytes");
                default:
                    connection.Consume(consumed);
                    if (!await connection.FillAsync())
                    {
                        throw connection.Ended();
                    }
                    break;
            }
        }
    }

    private void End()
    {
        _hasEnded = true;
        connection.EndResponse();
    }

    private UpstreamException Malformed() =>
        connection.Failure(FailureKind.MalformedResponse, "its chunked coding is invalid");
}
