using System.Net;
using Kedge.Host.Http;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The body of a response. Reports progress: a read begins when the previous write has completed.
/// </summary>
internal sealed class ResponseBody(Stream source, ExchangeProgress progress) : ResponseStream(source)
{
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        // The copy loop does a zero-byte read before each read; the zero-byte one follows a write.
        if (buffer.Length == 0)
        {
            progress.ResponseWriteCompleted();
            return Source.ReadAsync(buffer, cancellationToken);
        }
        var read = Source.ReadAsync(buffer, cancellationToken);
        if (read.IsCompletedSuccessfully)
        {
            progress.ResponseWriteStarted();
        }
        return read;
    }
}

/// <summary>Replaces the body of a response by a stream that observes it.</summary>
internal sealed class ResponseContent(HttpContent original, Stream body) : HttpContent
{
    protected override Task<Stream> CreateContentReadStreamAsync() => Task.FromResult(body);

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        body.CopyToAsync(stream);

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
