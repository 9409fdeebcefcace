using System.Runtime.CompilerServices;
using Kedge.Host.Http;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The response body of a gRPC call. When the endpoint breaks it off, or the deadline of the call passes, the stream
/// ends with a status in its trailers and not with a reset, which the caller would take for an internal error or for
/// its own cancellation.
/// </summary>
internal sealed class GrpcResponseBody(Stream source, HttpContext context, Exchange exchange) : ResponseStream(source)
{
    private bool _hasEnded;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_hasEnded)
        {
            return new(0);
        }
        var read = Source.ReadAsync(buffer, cancellationToken);
        return read.IsCompletedSuccessfully ? read : AwaitAsync(read);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> AwaitAsync(ValueTask<int> read)
    {
        try
        {
            return await read;
        }
        catch (Exception e) when (exchange.TryEndInTrailers(context, e))
        {
            _hasEnded = true;
            return 0;
        }
    }
}
