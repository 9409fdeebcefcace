using System.Buffers;
using System.IO.Pipelines;

namespace Kedge.Host.Http;

/// <summary>
/// The output of an HTTP/2 connection. The server writes its frames to it; frames that the server cannot send are
/// inserted between them. The server flushes after each group of whole frames, so frames can be inserted there.
/// </summary>
/// <param name="target">The connection.</param>
internal sealed class Http2Output(PipeWriter target) : PipeWriter
{
    // In bytes. Inserted frames are optional, so they do not wait without limit for a caller that does not read.
    private const int MaxWaiting = 64 * 1024;

    private readonly Lock _lock = new();
    // Frames that wait to be inserted.
    private ArrayBufferWriter<byte>? _waiting;
    // What the server writes while inserted frames are flushed: the target allows one flush at a time.
    private ArrayBufferWriter<byte>? _aside;
    private Task _ownFlush = Task.CompletedTask;
    private bool _isOwnFlush;
    private bool _isFlush;
    // The server has written bytes that it has not flushed.
    private bool _isWriting;
    private bool _writesAside;
    private bool _isCompleted;

    public override bool CanGetUnflushedBytes => target.CanGetUnflushedBytes;

    public override long UnflushedBytes => target.UnflushedBytes + (_writesAside ? _aside!.WrittenCount : 0);

    /// <summary>
    /// Sends whole frames ahead of what the server writes from now on. Can be called from any thread.
    /// </summary>
    /// <returns>
    /// False when the frames are left out, because too much waits for the caller or the output has been completed.
    /// </returns>
    public bool TryInsert(ReadOnlySpan<byte> frames)
    {
        lock (_lock)
        {
            if (_isCompleted || (_waiting?.WrittenCount ?? 0) + frames.Length > MaxWaiting)
            {
                return false;
            }
            (_waiting ??= new()).Write(frames);
            SendWaitingIfIdle();
            return true;
        }
    }

    public override Memory<byte> GetMemory(int sizeHint = 0)
    {
        lock (_lock)
        {
            return Begin().GetMemory(sizeHint);
        }
    }

    public override Span<byte> GetSpan(int sizeHint = 0)
    {
        lock (_lock)
        {
            return Begin().GetSpan(sizeHint);
        }
    }

    public override void Advance(int bytes)
    {
        if (_writesAside)
        {
            _aside!.Advance(bytes);
        }
        else
        {
            target.Advance(bytes);
        }
    }

    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
    {
        ValueTask<FlushResult> flush;
        lock (_lock)
        {
            if (_isOwnFlush)
            {
                return FlushAfterOwnAsync(cancellationToken);
            }
            flush = StartFlush(cancellationToken);
            if (flush.IsCompleted)
            {
                _isFlush = false;
                return flush;
            }
        }
        return AwaitAsync(flush);
    }

    public override void CancelPendingFlush() => target.CancelPendingFlush();

    public override void Complete(Exception? exception = null)
    {
        lock (_lock)
        {
            _isCompleted = true;
        }
        target.Complete(exception);
    }

    private IBufferWriter<byte> Begin()
    {
        if (!_isWriting)
        {
            _isWriting = true;
            _writesAside = _isOwnFlush;
            if (_writesAside)
            {
                _aside ??= new();
            }
            else
            {
                WriteWaiting();
            }
        }
        return _writesAside ? _aside! : target;
    }

    private ValueTask<FlushResult> StartFlush(CancellationToken cancel)
    {
        if (_writesAside)
        {
            target.Write(_aside!.WrittenSpan);
            _aside.ResetWrittenCount();
            _writesAside = false;
        }
        WriteWaiting();
        _isWriting = false;
        _isFlush = true;
        return target.FlushAsync(cancel);
    }

    private async ValueTask<FlushResult> FlushAfterOwnAsync(CancellationToken cancel)
    {
        ValueTask<FlushResult> flush;
        while (true)
        {
            await _ownFlush;
            lock (_lock)
            {
                if (!_isOwnFlush)
                {
                    flush = StartFlush(cancel);
                    break;
                }
            }
        }
        return await AwaitAsync(flush);
    }

    private async ValueTask<FlushResult> AwaitAsync(ValueTask<FlushResult> flush)
    {
        try
        {
            return await flush;
        }
        finally
        {
            lock (_lock)
            {
                _isFlush = false;
                SendWaitingIfIdle();
            }
        }
    }

    private void WriteWaiting()
    {
        if (_waiting is { WrittenCount: > 0 } waiting)
        {
            target.Write(waiting.WrittenSpan);
            waiting.ResetWrittenCount();
        }
    }

    private void SendWaitingIfIdle()
    {
        if (_waiting is not { WrittenCount: > 0 } || _isWriting || _isFlush || _isOwnFlush || _isCompleted)
        {
            return;
        }
        WriteWaiting();
        _isOwnFlush = true;
        _ownFlush = FlushOwnAsync();
    }

    private async Task FlushOwnAsync()
    {
        // Not under the lock, and not before the task has been stored.
        await Task.Yield();
        try
        {
            await target.FlushAsync();
        }
        catch (Exception)
        {
            // The server's own writes fail in the same way.
        }
        lock (_lock)
        {
            _isOwnFlush = false;
            SendWaitingIfIdle();
        }
    }
}
