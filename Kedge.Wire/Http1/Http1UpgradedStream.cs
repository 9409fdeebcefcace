using Kedge.Wire.Sockets;

namespace Kedge.Wire.Http1;

/// <summary>
/// The bytes that follow a 101 on the connection, in both directions. Disposing of it closes the connection.
/// </summary>
internal sealed class Http1UpgradedStream(Http1Connection connection) : AsyncOnlyStream
{
    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var buffered = connection.Buffered;
        if (buffered.IsEmpty)
        {
            return connection.Channel.ReadAsync(buffer, cancellationToken);
        }
        var count = Math.Min(buffered.Length, buffer.Length);
        buffered[..count].CopyTo(buffer.Span);
        connection.Consume(count);
        return new(count);
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        connection.Channel.WriteAsync(buffer, cancellationToken);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            connection.EndUpgrade();
        }
        base.Dispose(disposing);
    }
}
