using System.Runtime.CompilerServices;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The response body of a gRPC call: counts its messages. When the deadline passes, the stream ends with
/// DEADLINE_EXCEEDED in its trailers and not with a reset, which the caller would take for an internal error.
/// </summary>
/// <param name="source">The body as the endpoint sends it.</param>
/// <param name="context">Of the call.</param>
/// <param name="progress">Of the exchange.</param>
/// <param name="messages">Counts the messages; null = not counted.</param>
internal sealed class GrpcResponseBody(
    Stream source, HttpContext context, ExchangeProgress progress, GrpcMessages? messages) : ResponseStream(source)
{
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var read = Source.ReadAsync(buffer, cancellationToken);
        if (!read.IsCompletedSuccessfully)
        {
            return AwaitAsync(read, buffer);
        }
        var count = read.Result;
        messages?.Note(buffer.Span[..count]);
        return ValueTask.FromResult(count);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> AwaitAsync(ValueTask<int> read, Memory<byte> buffer)
    {
        try
        {
            var count = await read;
            messages?.Note(buffer.Span[..count]);
            return count;
        }
        catch (OperationCanceledException) when (progress.DeadlineHasPassed
            && !context.RequestAborted.IsCancellationRequested)
        {
            LocalReply.DeadlineExceeded.SetTrailers(context);
            return 0;
        }
    }
}
