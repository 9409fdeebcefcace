namespace Kedge.Wire.Sockets;

/// <summary>Presents a channel as a stream.</summary>
internal sealed class ChannelStream(ByteChannel channel) : AsyncOnlyStream
{
    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        channel.ReadAsync(buffer, cancellationToken);

    public override ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        channel.WriteAsync(buffer, cancellationToken);

    protected override void Dispose(bool disposing)
    {
        channel.Abort();
        base.Dispose(disposing);
    }
}
