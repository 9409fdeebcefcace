using Kedge.Wire.Sockets;

namespace Kedge.Wire.Http2;

/// <summary>
/// The stream to which the content of a request is written. Collects small writes until it is flushed.
/// </summary>
internal sealed class Http2RequestStream(Http2Exchange exchange) : AsyncOnlyStream
{
    public override bool CanRead => false;

    public override bool CanWrite => true;

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        exchange.WriteAsync(buffer);

    public override Task FlushAsync(CancellationToken cancellationToken)
    {
        exchange.Flush();
        return Task.CompletedTask;
    }
}

/// <summary>
/// The content of a response. A read into an empty buffer waits until bytes can be read or the end is known.
/// </summary>
internal sealed class Http2ResponseStream(Http2Exchange exchange) : AsyncOnlyStream
{
    public override bool CanRead => true;

    public override bool CanWrite => false;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        exchange.ReadAsync(buffer, cancellationToken);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            exchange.Dispose();
        }
        base.Dispose(disposing);
    }
}
