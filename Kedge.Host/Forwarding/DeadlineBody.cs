using Kedge.Host.Http;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The response body of a gRPC call with a deadline. When the deadline passes, the stream ends with DEADLINE_EXCEEDED
/// in its trailers and not with a reset, which the caller would take for an internal error.
/// </summary>
internal sealed class DeadlineBody(Stream source, HttpContext context, ExchangeProgress progress)
    : ResponseStream(source)
{
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var read = Source.ReadAsync(buffer, cancellationToken);
        return read.IsCompletedSuccessfully ? read : AwaitAsync(read);
    }

    private async ValueTask<int> AwaitAsync(ValueTask<int> read)
    {
        try
        {
            return await read;
        }
        catch (OperationCanceledException) when (progress.DeadlineHasPassed
            && !context.RequestAborted.IsCancellationRequested)
        {
            LocalReply.DeadlineExceeded.SetTrailers(context);
            return 0;
        }
    }
}
