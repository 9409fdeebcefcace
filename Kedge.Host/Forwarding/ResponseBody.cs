using System.IO.Pipelines;
using System.Net;
using System.Runtime.CompilerServices;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Forwarding;

// The way of a response body:
//
//   endpoint ──▶ connection ──▶ ResponseBody.CopyAsync ──▶ server's writer ──▶ caller
//
// The forwarder would copy through a buffer of its own, of 64 KiB for each response that its caller does not read. Its
// copy loop starts with a zero-byte read. That copies the whole body, straight into the server's buffers, and nothing
// is left for the loop.

/// <summary>
/// Copies the body of a response to the caller. What has arrived is collected until the next read has to wait, so that
/// it is sent at once and in few pieces. How much may wait for the caller grows while the caller takes it.
/// </summary>
/// <param name="source">The body as the endpoint sends it; its first byte, or its end, is there.</param>
/// <param name="context">Of the request.</param>
/// <param name="exchange">The request.</param>
/// <param name="length">Of the body; null when it is not known.</param>
/// <param name="messages">Counts the messages of a gRPC call; null = not counted.</param>
internal sealed class ResponseBody(
    Stream source, HttpContext context, Exchange exchange, long? length, GrpcMessages? messages)
    : ResponseStream(source)
{
    // What a stream whose caller reads nothing can hold here.
    private const int FirstLimit = 16 * 1024;
    private const int MaxLimit = 64 * 1024;

    // Of a body whose length is not known: a block of the server's.
    private const int FirstRead = 4 * 1024;

    private bool _hasStarted;

    /// <summary>Bytes that the server has and has not been asked to send.</summary>
    private int _unflushed;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_hasStarted)
        {
            return new(0);
        }
        _hasStarted = true;
        return CopyAsync(cancellationToken);
    }

    /// <summary>Copies the body.</summary>
    /// <returns>0, as at the end of a stream.</returns>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> CopyAsync(CancellationToken cancel)
    {
        var response = context.Response;
        var writer = response.BodyWriter;
        var isHttp2 = HttpProtocol.IsHttp2(context.Request.Protocol);
        // An HTTP/1.1 connection has one response at a time.
        var limit = isHttp2 ? FirstLimit : MaxLimit;
        var wanted = (int)Math.Min(length ?? FirstRead, limit);
        try
        {
            var isReady = true;
            while (true)
            {
                if (!isReady)
                {
                    // Without a buffer, so that a quiet stream holds none.
                    var ready = Source.ReadAsync(Memory<byte>.Empty, cancel);
                    if (ready.IsCompletedSuccessfully)
                    {
                        _ = ready.Result;
                    }
                    else
                    {
                        await FlushAsync(writer, cancel);
                        await ready;
                    }
                }
                if (!isHttp2 && !response.HasStarted)
                {
                    // Before that, the server would collect the body elsewhere and copy it once more.
                    await response.StartAsync(cancel);
                }
                var buffer = writer.GetMemory(wanted);
                var count = await Source.ReadAsync(buffer, cancel);
                if (count == 0)
                {
                    if (!isHttp2)
                    {
                        // The server does not send what was written to its buffers alone when the response completes.
                        await FlushAsync(writer, cancel);
                    }
                    return 0;
                }
                messages?.Note(buffer.Span[..count]);
                writer.Advance(count);
                exchange.Progress.NoteProgress();
                _unflushed += count;
                isReady = false;
                if (_unflushed >= limit)
                {
                    await FlushAsync(writer, cancel);
                    limit = MaxLimit;
                    isReady = count == buffer.Length;
                }
                if (count >= wanted)
                {
                    wanted = limit;
                }
            }
        }
        catch (Exception e) when (exchange.Protocol.IsGrpc && exchange.TryEndInTrailers(context, e))
        {
            return 0;
        }
        catch (Exception e) when ((response.HasStarted || _unflushed > 0)
            && (e is UpstreamException || (e is OperationCanceledException && exchange.HasTimedOut)))
        {
            // What came before it counts. And before the forwarder acts: its reset would say that the caller canceled
            // the request, and its abort would discard what has not been sent yet.
            if (!cancel.IsCancellationRequested)
            {
                await FlushAsync(writer, cancel);
            }
            exchange.BreakOff(e);
            if (!exchange.IsCut)
            {
                throw;
            }
            return 0;
        }
    }

    private ValueTask FlushAsync(PipeWriter writer, CancellationToken cancel)
    {
        if (_unflushed == 0)
        {
            return default;
        }
        _unflushed = 0;
        exchange.Progress.ResponseWriteStarted();
        var flush = writer.FlushAsync(cancel);
        if (!flush.IsCompletedSuccessfully)
        {
            return AwaitAsync(flush);
        }
        _ = flush.Result;
        exchange.Progress.ResponseWriteCompleted();
        return default;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask AwaitAsync(ValueTask<FlushResult> flush)
    {
        await flush;
        exchange.Progress.ResponseWriteCompleted();
    }
}

/// <summary>Replaces the body of a response by a stream that copies it.</summary>
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
