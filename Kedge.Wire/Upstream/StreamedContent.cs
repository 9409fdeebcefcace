using System.Net;

namespace Kedge.Wire.Upstream;

/// <summary>Content that is read from a stream as it arrives.</summary>
public sealed class StreamedContent(Stream source) : HttpContent
{
    protected override Task<Stream> CreateContentReadStreamAsync() => Task.FromResult(source);

    protected override Stream CreateContentReadStream(CancellationToken cancellationToken) => source;

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        source.CopyToAsync(stream);

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            source.Dispose();
        }
        base.Dispose(disposing);
    }
}
