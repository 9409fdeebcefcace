namespace Kedge.Host.Http;

/// <summary>
/// A stream of bytes on their way: asynchronous, without an end known ahead and without a way back. What a stream of another kind
/// could do besides is refused here, once, as <see cref="Stream"/> wants it of those that cannot.
/// </summary>
internal abstract class AsyncStream : Stream
{
    private const string AsynchronousOnly = "asynchronous only";
    private const string NoWayBack = "bytes on their way have neither length nor position";

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException(NoWayBack);

    public override long Position
    {
        get => throw new NotSupportedException(NoWayBack);
        set => throw new NotSupportedException(NoWayBack);
    }

    public abstract override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default);

    public abstract override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException(AsynchronousOnly);

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException(AsynchronousOnly);

    public override void Flush() => throw new NotSupportedException(AsynchronousOnly);

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException(NoWayBack);

    public override void SetLength(long value) => throw new NotSupportedException(NoWayBack);
}

/// <summary>The answer's body as the copy loop reads it: <paramref name="source"/>, with something done on the way.</summary>
internal abstract class AnswerStream(Stream source) : AsyncStream
{
    public override bool CanWrite => false;

    protected Stream Source { get; } = source;

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException("an answer's body is read only");

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
