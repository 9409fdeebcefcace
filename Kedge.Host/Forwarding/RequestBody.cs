using System.Net;
using System.Runtime.CompilerServices;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The request's body on its way: read from the caller at one end, written to the endpoint at the other, by one copy loop.
/// What was written is flushed when the caller has no more to give just now, so that a chunk goes on when it arrives,
/// and not at every write, so that a body that is there already goes out in as few packets as it fits.
/// </summary>
internal sealed class RequestBody(Stream source, Exchange exchange) : Stream
{
    private Stream? _target;
    private bool _unflushed;

    /// <summary>Where the body goes.</summary>
    public void SetTarget(Stream target) => _target = target;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var read = source.ReadAsync(buffer, cancellationToken);
        if (read.IsCompletedSuccessfully)
        {
            var count = read.Result;
            Note(count, buffer.Length);
            return ValueTask.FromResult(count);
        }
        return FlushAndAwaitAsync(read, buffer.Length, cancellationToken);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> FlushAndAwaitAsync(ValueTask<int> read, int wanted, CancellationToken cancel)
    {
        if (_unflushed)
        {
            _unflushed = false;
            try
            {
                await _target!.FlushAsync(cancel);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // Not the caller's fault, for which an error of a read would be taken. The next write meets it again, or
                // the answer's failure ends the exchange first.
            }
        }
        var count = await read;
        Note(count, wanted);
        return count;
    }

    private void Note(int count, int wanted)
    {
        if (count > 0)
        {
            exchange.Moved();
        }
        else if (wanted > 0)
        {
            exchange.RequestRead();
        }
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _unflushed = true;
        return _target!.WriteAsync(buffer, cancellationToken);
    }

    /// <summary>Only takes note: the next read flushes if it has to wait. (The forwarder asks for it before the first read, too.)</summary>
    public override Task FlushAsync(CancellationToken cancellationToken)
    {
        _unflushed = true;
        return Task.CompletedTask;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override void Flush() => throw new NotSupportedException("asynchronous only");

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("asynchronous only");

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("asynchronous only");

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}

/// <summary>Takes the place of the forwarder's content, which does the copying, to put <see cref="RequestBody"/> at both of its ends.</summary>
internal sealed class RequestContent(HttpContent copying, RequestBody body) : HttpContent
{
    /// <summary>Whether the body has begun to go out. It cannot go out a second time.</summary>
    public bool Started { get; private set; }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    // The very token is handed on: the forwarder compares it with its own.
    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        Started = true;
        body.SetTarget(stream);
        return copying.CopyToAsync(body, context, cancellationToken);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }
}

/// <summary>No body, for content headers of a request that has none.</summary>
internal sealed class NoContent : HttpContent
{
    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => Task.CompletedTask;

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return true;
    }
}
