using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;

namespace Kedge.Host.Http;

/// <summary>
/// The input of an HTTP/1.1 connection. While the server reads a chunked body from it, <see cref="ChunkSyntax"/> checks
/// the framing once more.
/// </summary>
internal sealed class ChunkedInput(PipeReader source) : PipeReader
{
    private readonly ChunkSyntax _syntax = new();
    private ReadOnlySequence<byte> _buffer;
    private bool _isChecking;

    /// <summary>
    /// Starts checking: the server has read the headers of a request with a chunked body, and nothing after them.
    /// </summary>
    public void BodyBegins()
    {
        _syntax.Begin();
        _isChecking = true;
    }

    public override bool TryRead(out ReadResult result)
    {
        var hasRead = source.TryRead(out result);
        if (_isChecking)
        {
            _buffer = result.Buffer;
        }
        return hasRead;
    }

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        var read = source.ReadAsync(cancellationToken);
        if (!_isChecking)
        {
            // Most connections only ever take this path, which avoids another state machine for each request.
            return read;
        }
        if (!read.IsCompletedSuccessfully)
        {
            return AwaitAsync(read);
        }
        var result = read.Result;
        _buffer = result.Buffer;
        return new(result);
    }

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    /// <exception cref="BadHttpRequestException">
    /// The consumed bytes are malformed. The server then fails the request body.
    /// </exception>
    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        var isSound = true;
        if (_isChecking)
        {
            isSound = IsSound(_buffer.Slice(0, consumed));
            _isChecking = !_syntax.IsComplete;
            _buffer = default;
        }
        source.AdvanceTo(consumed, examined);
        if (!isSound)
        {
            throw new BadHttpRequestException("the framing of a chunk is malformed");
        }
    }

    public override void CancelPendingRead() => source.CancelPendingRead();

    public override void Complete(Exception? exception = null) => source.Complete(exception);

    private bool IsSound(in ReadOnlySequence<byte> consumed)
    {
        foreach (var segment in consumed)
        {
            if (!_syntax.Accepts(segment.Span))
            {
                return false;
            }
        }
        return true;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ReadResult> AwaitAsync(ValueTask<ReadResult> read)
    {
        var result = await read;
        _buffer = result.Buffer;
        return result;
    }
}
