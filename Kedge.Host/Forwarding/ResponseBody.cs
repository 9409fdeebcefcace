using System.Net;
using Kedge.Host.Http;

namespace Kedge.Host.Forwarding;

/// <summary>The response's body on its way. Tells the exchange that it moves: a read begins when the last write is done.</summary>
internal sealed class ResponseBody(Stream source, Exchange exchange) : AnswerStream(source)
{
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        // The copy loop reads nothing before it reads something; the former follows a write.
        if (buffer.Length == 0)
        {
            exchange.Moved();
        }
        return Source.ReadAsync(buffer, cancellationToken);
    }
}

/// <summary>Yields a <see cref="ResponseBody"/>.</summary>
internal sealed class ResponseContent(HttpContent original, Stream body) : HttpContent
{
    protected override Task<Stream> CreateContentReadStreamAsync() => Task.FromResult(body);

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => body.CopyToAsync(stream);

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            original.Dispose();
        }
        base.Dispose(disposing);
    }
}
