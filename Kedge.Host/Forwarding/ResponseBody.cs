using System.Net;
using System.Runtime.CompilerServices;
using Kedge.Host.Http;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The response body of an HTTP request. Reports progress: a read begins when the previous write has completed.
/// </summary>
internal sealed class ResponseBody(Stream source, HttpContext context, Exchange exchange) : ResponseStream(source)
{
    private bool _isCut;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_isCut)
        {
            return new(0);
        }
        // The copy loop does a zero-byte read before each read, so a zero-byte read follows a completed write.
        if (buffer.Length == 0)
        {
            exchange.Progress.ResponseWriteCompleted();
        }
        var read = Source.ReadAsync(buffer, cancellationToken);
        if (!read.IsCompletedSuccessfully)
        {
            return AwaitAsync(read);
        }
        if (buffer.Length > 0)
        {
            exchange.Progress.ResponseWriteStarted();
        }
        return read;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> AwaitAsync(ValueTask<int> read)
    {
        try
        {
            return await read;
        }
        catch (Exception e) when (context.Response.HasStarted
            && (e is UpstreamException || (e is OperationCanceledException && exchange.HasTimedOut)))
        {
            // Before the forwarder does: its reset would indicate that the caller canceled the request, and its abort
            // would discard bytes that have not been sent yet.
            exchange.BreakOff(e);
            if (!exchange.IsCut)
            {
                throw;
            }
            _isCut = true;
            return 0;
        }
    }
}

/// <summary>Replaces the body of a response with a stream that observes it.</summary>
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
