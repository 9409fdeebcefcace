using System.Runtime.CompilerServices;
using Kedge.Wire.Sockets;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http1;

/// <summary>
/// The stream to which the content of a request is written: frames it, and collects small writes, so that a short
/// request is sent in one piece with its head.
/// </summary>
/// <param name="length">The Content-Length; null = chunked.</param>
internal sealed class Http1RequestStream(Http1Connection connection, long? length) : AsyncOnlyStream
{
    // The chunk size with its line end, and the line end after the data.
    private const int ChunkOverhead = 12;

    private long _remaining = length ?? long.MaxValue;

    public override bool CanRead => false;

    public override bool CanWrite => true;

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (buffer.IsEmpty || connection.DiscardsContent)
        {
            return default;
        }
        _remaining -= buffer.Length;
        if (_remaining < 0)
        {
            throw new InvalidOperationException("the content is longer than its length");
        }
        var output = connection.Output;
        if (buffer.Length + ChunkOverhead > output.Free)
        {
            return WriteLargeAsync(buffer);
        }
        if (length is null)
        {
            output.WriteChunkSize(buffer.Length);
            output.Write(buffer.Span);
            output.Write("\r\n"u8);
        }
        else
        {
            output.Write(buffer.Span);
        }
        return default;
    }

    public override Task FlushAsync(CancellationToken cancellationToken)
    {
        var flush = connection.FlushAsync();
        return flush.IsCompletedSuccessfully ? Task.CompletedTask : flush.AsTask();
    }

    /// <summary>Completes the content.</summary>
    public ValueTask EndAsync(UpstreamRequest request)
    {
        if (connection.DiscardsContent)
        {
            return default;
        }
        if (length is null)
        {
            RequestHeadEncoder.EncodeEnd(request.Trailers?.Invoke(request.State), connection.Output);
        }
        else if (_remaining > 0)
        {
            throw new InvalidOperationException("the content is shorter than its length");
        }
        return connection.FlushAsync();
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask WriteLargeAsync(ReadOnlyMemory<byte> buffer)
    {
        var output = connection.Output;
        if (length is null)
        {
            output.WriteChunkSize(buffer.Length);
        }
        await connection.FlushAsync();
        if (connection.DiscardsContent)
        {
            return;
        }
        await connection.WriteAsync(buffer);
        if (length is null)
        {
            // Sent with the next write, or with the flush.
            output.Write("\r\n"u8);
        }
    }
}
