using Kedge.Host.Http;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The answer to a gRPC call with a deadline. When that passes in the middle of it, the stream ends with DEADLINE_EXCEEDED in its
/// trailers instead of a reset, which the caller would take for an internal error.
/// </summary>
internal sealed class DeadlineBody(Stream source, HttpContext context, Exchange exchange) : AnswerStream(source)
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
        catch (OperationCanceledException) when (exchange.DeadlineHasPassed && !context.RequestAborted.IsCancellationRequested)
        {
            LocalReply.DeadlineExceeded.SetTrailers(context);
            return 0;
        }
    }
}
