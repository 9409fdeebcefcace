using System.IO.Pipelines;
using System.Threading.Tasks.Sources;
using Kedge.Wire.Loops;
using Kedge.Wire.Sockets;

namespace Kedge.Wire.Transport;

/// <summary>
/// Sends bytes to a caller. Bytes that are flushed on the loop's thread are sent at the end of the turn, in one piece;
/// on a pool thread, after the work that is already queued there; during the TLS handshake, at once.
/// </summary>
internal sealed class LoopOutput(LoopConnection connection, LoopSocket socket)
    : PipeWriter, IValueTaskSource<FlushResult>, ILoopWork, IThreadPoolWorkItem
{
    // How many bytes are collected until the end of the turn.
    private const int MaxGathered = 64 * 1024;

    // A flush that leaves more than this unsent waits until only half of this is left.
    private const int MaxUnsent = 64 * 1024;

    // Bytes that are not flushed yet belong to the writer; the loop does not touch them.
    private OutputBytes _written;

    // Guarded by the socket's lock. The thread that clears the flag completes the wait, after it releases the lock.
    private OutputBytes _unsent;
    private bool _isWaiting;
    private bool _isCanceled;
    private bool _isCompleted;
    private bool _isPutOff;
    // Whether a pool thread will send. Separate from _isPutOff: bytes flushed on the loop do not wait for the pool.
    private bool _isQueued;
    private ManualResetValueTaskSourceCore<FlushResult> _flush;

    // How many bytes the connection is charged for: those whose flush waits.
    private int _held;

    public override bool CanGetUnflushedBytes => true;

    public override long UnflushedBytes => _written.Length;

    /// <summary>How many flushed bytes are still unsent. Read it under the lock.</summary>
    public int Unsent => _unsent.Length;

    public override Memory<byte> GetMemory(int sizeHint = 0) => _written.Room(sizeHint);

    public override Span<byte> GetSpan(int sizeHint = 0) => _written.Room(sizeHint).Span;

    public override void Advance(int bytes) => _written.Added(bytes);

    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) =>
        WriteAsync(default, cancellationToken);

    public override ValueTask<FlushResult> WriteAsync(
        ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return ValueTask.FromCanceled<FlushResult>(cancellationToken);
        }
        ValueTask<FlushResult> flush;
        int error;
        lock (socket.Lock)
        {
            if (_isWaiting)
            {
                throw new InvalidOperationException("the connection is being flushed already");
            }
            error = Take(source.Span);
            var result = Result(_isCanceled);
            _isCanceled = false;
            if (error == 0 && (result.IsCanceled || _unsent.Length <= MaxUnsent))
            {
                return new(result);
            }
            if (error == 0)
            {
                _isWaiting = true;
                _flush.Reset();
                Hold(_unsent.Length);
            }
            flush = error == 0 ? new(this, _flush.Version) : new(new FlushResult(isCanceled: false, isCompleted: true));
        }
        if (error != 0)
        {
            connection.Break(LoopConnection.Failure(error));
            return flush;
        }
        return cancellationToken.CanBeCanceled ? WaitAsync(flush, cancellationToken) : flush;
    }

    public override void CancelPendingFlush()
    {
        lock (socket.Lock)
        {
            if (!_isWaiting)
            {
                _isCanceled = true;
                return;
            }
            _isWaiting = false;
            Hold(0);
        }
        _flush.RunContinuationsAsynchronously = true;
        _flush.SetResult(new(isCanceled: true, isCompleted: false));
    }

    /// <summary>Sends what was written; does not wait for that.</summary>
    public override void Complete(Exception? exception = null)
    {
        int error;
        lock (socket.Lock)
        {
            if (_isCompleted)
            {
                return;
            }
            error = Take([]);
            _isCompleted = true;
        }
        if (error != 0)
        {
            connection.Break(LoopConnection.Failure(error));
        }
    }

    /// <summary>Sends as many unsent bytes as it can. Called when the socket may have room.</summary>
    public void Continue()
    {
        bool completes;
        int error;
        lock (socket.Lock)
        {
            error = SendUnsent();
            completes = error == 0 && _isWaiting && _unsent.Length <= MaxUnsent / 2;
            _isWaiting &= !completes;
            if (completes)
            {
                Hold(0);
            }
            if (_unsent.Length == 0)
            {
                connection.OutputSent();
            }
        }
        if (completes)
        {
            _flush.RunContinuationsAsynchronously = connection.ContinuesOnPool || !socket.Loop.IsCurrent;
            _flush.SetResult(default);
        }
        if (error != 0)
        {
            connection.Break(LoopConnection.Failure(error));
        }
    }

    /// <summary>Sends the bytes that were flushed during the turn.</summary>
    void ILoopWork.Run()
    {
        lock (socket.Lock)
        {
            _isPutOff = false;
        }
        Continue();
    }

    /// <summary>Sends the bytes that were flushed on pool threads.</summary>
    void IThreadPoolWorkItem.Execute()
    {
        lock (socket.Lock)
        {
            _isQueued = false;
        }
        Continue();
    }

    /// <summary>
    /// Sends what it can, and drops the rest and everything that is written later. Call it under the lock.
    /// </summary>
    /// <returns>Whether the caller must call <see cref="EndWait"/> after it releases the lock.</returns>
    public bool Fail()
    {
        SendUnsent();
        _unsent.Clear();
        Hold(0);
        var waits = _isWaiting;
        _isWaiting = false;
        return waits;
    }

    public void EndWait()
    {
        // Runs continuations on the pool: this thread may hold locks.
        _flush.RunContinuationsAsynchronously = true;
        _flush.SetResult(new(isCanceled: false, isCompleted: true));
    }

    FlushResult IValueTaskSource<FlushResult>.GetResult(short token) => _flush.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<FlushResult>.GetStatus(short token) => _flush.GetStatus(token);

    void IValueTaskSource<FlushResult>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _flush.OnCompleted(continuation, state, token, flags);

    private FlushResult Result(bool isCanceled) => new(isCanceled, socket.IsClosed || _isCompleted);

    /// <summary>
    /// Takes over the written bytes, and more, and sends them or defers that. Call it under the lock.
    /// </summary>
    /// <returns>The error number; 0 = none.</returns>
    private int Take(ReadOnlySpan<byte> more)
    {
        if (socket.IsClosed || _isCompleted)
        {
            _written.Clear();
            return 0;
        }
        _unsent.TakeOver(ref _written);
        if (_unsent.Length + more.Length == 0)
        {
            return 0;
        }
        if (_unsent.Length + more.Length <= MaxGathered && TryPutOff())
        {
            _unsent.Add(more);
            return 0;
        }
        if (SendUnsent() is var error and not 0)
        {
            return error;
        }
        while (more.Length > 0 && _unsent.Length == 0 && socket.IsWritable)
        {
            var count = socket.Send(more, out error);
            if (error != 0)
            {
                return error;
            }
            more = more[Math.Max(0, count)..];
        }
        _unsent.Add(more);
        return 0;
    }

    /// <summary>Defers sending, so that bytes written in the meantime are sent along. Call it under the lock.</summary>
    /// <returns>False when the bytes must be sent at once.</returns>
    private bool TryPutOff()
    {
        if (socket.Loop.IsCurrent)
        {
            if (!_isPutOff)
            {
                _isPutOff = true;
                socket.Loop.AtEndOfTurn(this);
            }
            return true;
        }
        if (connection.ContinuesOnPool)
        {
            // During a handshake, the peer waits for each message.
            return false;
        }
        if (!_isQueued)
        {
            _isQueued = true;
            // Not to this thread's own queue, which runs first: with HTTP/2, the work that is already queued is mostly
            // other streams of the connection, which are about to write.
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
        return true;
    }

    /// <summary>Call it under the lock.</summary>
    private void Hold(int bytes)
    {
        if (bytes != _held)
        {
            connection.Account?.Add(bytes - _held);
            _held = bytes;
        }
    }

    /// <summary>Call it under the lock.</summary>
    /// <returns>The error number; 0 = none.</returns>
    private int SendUnsent()
    {
        while (_unsent.Length > 0 && socket.IsWritable)
        {
            var count = socket.Send(_unsent.Span, out var error);
            if (error != 0)
            {
                return error;
            }
            _unsent.Sent(Math.Max(0, count));
        }
        return 0;
    }

    private async ValueTask<FlushResult> WaitAsync(ValueTask<FlushResult> flush, CancellationToken cancel)
    {
        await using var registration = cancel.UnsafeRegister(
            static (self, cancel) => ((LoopOutput)self!).CancelFlush(cancel), this);
        return await flush;
    }

    private void CancelFlush(CancellationToken cancel)
    {
        lock (socket.Lock)
        {
            if (!_isWaiting)
            {
                return;
            }
            _isWaiting = false;
            Hold(0);
        }
        _flush.RunContinuationsAsynchronously = true;
        _flush.SetException(new OperationCanceledException(cancel));
    }
}
