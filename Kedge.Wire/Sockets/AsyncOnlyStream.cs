namespace Kedge.Wire.Sockets;

/// <summary>
/// The base of forward-only, asynchronous streams: rejects the operations of <see cref="Stream"/> that they do not
/// support.
/// </summary>
internal abstract class AsyncOnlyStream : Stream
{
    private const string AsynchronousOnly = "the stream is asynchronous only";
    private const string ForwardOnly = "the stream has neither a length nor a position";

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException(ForwardOnly);

    public override long Position
    {
        get => throw new NotSupportedException(ForwardOnly);
        set => throw new NotSupportedException(ForwardOnly);
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException("the stream is write-only");

    public override ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException("the stream is read-only");

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException(AsynchronousOnly);

    public override void Write(byte[] buffer, int offset, int count) =>
        throw new NotSupportedException(AsynchronousOnly);

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException(ForwardOnly);

    public override void SetLength(long value) => throw new NotSupportedException(ForwardOnly);
}
