namespace Kedge.Host.Http;

/// <summary>
/// A forward-only, asynchronous stream. Rejects, in one place, the operations of <see cref="Stream"/> that it does not
/// support.
/// </summary>
internal abstract class AsyncStream : Stream
{
    private const string AsynchronousOnly = "the stream is asynchronous only";
    private const string ForwardOnly = "the stream has neither a length nor a position";

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException(ForwardOnly);

    public override long Position
    {
        get => throw new NotSupportedException(ForwardOnly);
        set => throw new NotSupportedException(ForwardOnly);
    }

    public abstract override ValueTask<int> ReadAsync(
        Memory<byte> buffer, CancellationToken cancellationToken = default);

    public abstract override ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException(AsynchronousOnly);

    public override void Write(byte[] buffer, int offset, int count) =>
        throw new NotSupportedException(AsynchronousOnly);

    public override void Flush() => throw new NotSupportedException(AsynchronousOnly);

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException(ForwardOnly);

    public override void SetLength(long value) => throw new NotSupportedException(ForwardOnly);
}

/// <summary>A response body that a derived class observes while the copy loop reads it.</summary>
/// <param name="source">The body as the endpoint sends it.</param>
internal abstract class ResponseStream(Stream source) : AsyncStream
{
    public override bool CanWrite => false;

    protected Stream Source { get; } = source;

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException("a response body is read-only");

    public override void Flush()
    {
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            Source.Dispose();
        }
        base.Dispose(disposing);
    }
}
