using System.Runtime.CompilerServices;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The response body of a gRPC call: reports progress and counts the messages. When the endpoint breaks it off, or the
/// call's deadline passes, the stream ends with a status in its trailers instead of a reset, which the caller would
/// mistake for an internal error or for its own cancellation.
/// </summary>
/// <param name="source">The body as the endpoint sends it.</param>
/// <param name="context">The context of the call.</param>
/// <param name="exchange">The call.</param>
/// <param name="messages">Counts the messages; null = not counted.</param>
internal sealed class GrpcResponseBody(
    Stream source, HttpContext context, Exchange exchange, GrpcMessages? messages) : ResponseStream(source)
{
    private bool _hasEnded;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_hasEnded)
        {
            return new(0);
        }
        // The copy loop does a zero-byte read before each read, so a zero-byte read follows a completed write.
        if (buffer.Length == 0)
        {
            exchange.Progress.ResponseWriteCompleted();
        }
        var read = Source.ReadAsync(buffer, cancellationToken);
        return read.IsCompletedSuccessfully ? new(Note(buffer, read.Result)) : AwaitAsync(read, buffer);
    }

    private int Note(Memory<byte> buffer, int count)
    {
        if (count > 0)
        {
            messages?.Note(buffer.Span[..count]);
            exchange.Progress.ResponseWriteStarted();
        }
        return count;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> AwaitAsync(ValueTask<int> read, Memory<byte> buffer)
    {
        try
        {
            return Note(buffer, await read);
        }
        catch (Exception e) when (exchange.TryEndInTrailers(context, e))
        {
            _hasEnded = true;
            return 0;
        }
    }
}
