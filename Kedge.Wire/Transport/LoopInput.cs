using System.IO.Pipelines;
using System.Threading.Tasks.Sources;
using Kedge.Wire.Loops;
using Kedge.Wire.Sockets;

namespace Kedge.Wire.Transport;

/// <summary>
/// Reads a caller's bytes from its socket when the server asks for them. Holds no buffer while it waits.
/// </summary>
internal sealed class LoopInput(LoopConnection connection, LoopSocket socket)
    : PipeReader, IValueTaskSource<ReadResult>, ILoopWork
{
    // How many bytes are read ahead from a peer that has ended its direction, to find its end. Other peers have to wait
    // until the server reads.
    private const int MaxAhead = 1024 * 1024;

    // Guarded by the socket's lock. The thread that clears the flag, with EndWaiting, completes the wait, after it
    // releases the lock.
    private bool _isWaiting;
    private bool _isCanceled;
    private bool _isCompleted;
    private InputBuffer _buffer = new();
    private Exception? _failure;
    private CancellationToken _cancel;
    private CancellationTokenRegistration _registration;

    // How many bytes the connection is charged for.
    private long _held;

    private ManualResetValueTaskSourceCore<ReadResult> _read;

    /// <summary>Whether the peer's direction has been read to its end. Read it under the lock.</summary>
    public bool HasEnded { get; private set; }

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return ValueTask.FromCanceled<ReadResult>(cancellationToken);
        }
        bool waitsForTurn;
        ValueTask<ReadResult> read;
        lock (socket.Lock)
        {
            ThrowIfWaiting();
            waitsForTurn = socket.IsReadable && !_buffer.HasUnexamined && socket.HasHadItsTurn;
            if (TryGet(fills: !waitsForTurn, out var result, out var failure))
            {
                return failure is null ? new(result) : ValueTask.FromException<ReadResult>(failure);
            }
            _isWaiting = true;
            _read.Reset();
            read = new(this, _read.Version);
            if (cancellationToken.CanBeCanceled)
            {
                // Under the lock, so that the thread that ends the wait finds the registration.
                _cancel = cancellationToken;
                _registration = cancellationToken.UnsafeRegister(
                    static (self, cancel) => ((LoopInput)self!).CancelRead(cancel), this);
            }
        }
        if (waitsForTurn)
        {
            socket.Loop.Post(this);
        }
        return read;
    }

    public override bool TryRead(out ReadResult result)
    {
        Exception? failure;
        lock (socket.Lock)
        {
            ThrowIfWaiting();
            if (!TryGet(fills: true, out result, out failure))
            {
                return false;
            }
        }
        return failure is null ? true : throw failure;
    }

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        lock (socket.Lock)
        {
            if (!_isCompleted)
            {
                _buffer.Advance(consumed, examined);
                if (_held > 0)
                {
                    Hold(_buffer.Length);
                }
            }
        }
    }

    public override void CancelPendingRead()
    {
        ReadResult result;
        lock (socket.Lock)
        {
            if (!EndWaiting())
            {
                _isCanceled = true;
                return;
            }
            result = new(_buffer.Content, isCanceled: true, HasEnded);
        }
        _read.RunContinuationsAsynchronously = true;
        _read.SetResult(result);
    }

    public override void Complete(Exception? exception = null)
    {
        lock (socket.Lock)
        {
            _isCompleted = true;
            _buffer.Clear();
            Hold(0);
        }
    }

    /// <summary>The socket may be readable. Called on the loop's thread, after the event was recorded.</summary>
    public void Continue(LoopEvents events)
    {
        const LoopEvents ends = LoopEvents.PeerEnded | LoopEvents.HungUp | LoopEvents.Error;
        bool completes;
        ReadResult result = default;
        Exception? failure = null;
        lock (socket.Lock)
        {
            completes = _isWaiting && TryGet(fills: true, out result, out failure) && EndWaiting();
            if ((events & ends) != 0)
            {
                ReadAhead();
            }
        }
        if (completes)
        {
            _read.RunContinuationsAsynchronously = connection.ContinuesOnPool;
            Complete(result, failure);
        }
    }

    /// <summary>Continues a read that waited for its next turn.</summary>
    void ILoopWork.Run() => Continue(LoopEvents.None);

    /// <summary>Reads fail from now on. Call it under the lock.</summary>
    /// <returns>Whether the caller must call <see cref="EndWait"/> after it releases the lock.</returns>
    public bool Fail(Exception failure)
    {
        _failure ??= failure;
        return EndWaiting();
    }

    public void EndWait()
    {
        // Runs continuations on the pool: this thread may hold locks.
        _read.RunContinuationsAsynchronously = true;
        _read.SetException(_failure!);
    }

    ReadResult IValueTaskSource<ReadResult>.GetResult(short token) => _read.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<ReadResult>.GetStatus(short token) => _read.GetStatus(token);

    void IValueTaskSource<ReadResult>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _read.OnCompleted(continuation, state, token, flags);

    /// <summary>Call it under the lock.</summary>
    /// <param name="fills">Whether the socket may be read.</param>
    /// <returns>False when there is no result yet.</returns>
    private bool TryGet(bool fills, out ReadResult result, out Exception? failure)
    {
        result = default;
        failure = null;
        if (_isCompleted)
        {
            failure = new InvalidOperationException("the reader was completed");
            return true;
        }
        if (!_isCanceled && !_buffer.HasUnexamined && !HasEnded && _failure is null)
        {
            if (!fills || !Fill())
            {
                return false;
            }
        }
        failure = _failure;
        if (failure is null)
        {
            result = new(_buffer.Content, _isCanceled, HasEnded);
            _isCanceled = false;
        }
        return true;
    }

    /// <summary>Receives once. Call it under the lock.</summary>
    /// <returns>Whether bytes, the end or an error arrived.</returns>
    private bool Fill()
    {
        if (!socket.IsReadable)
        {
            return false;
        }
        var count = socket.Receive(_buffer.Room(), out var error);
        _buffer.Filled(Math.Max(0, count));
        if (count > 0)
        {
            return true;
        }
        if (count < 0 && error == 0)
        {
            return false;
        }
        if (count == 0)
        {
            HasEnded = true;
        }
        else
        {
            _failure = LoopConnection.Failure(error);
        }
        connection.InputEnded();
        return true;
    }

    /// <summary>
    /// Reads ahead: the server may be busy with a request and read nothing, but it must still learn when the caller has
    /// left. Call it under the lock.
    /// </summary>
    private void ReadAhead()
    {
        while (!_isCompleted && !HasEnded && _failure is null && _buffer.Length < MaxAhead && Fill())
        {
        }
        Hold(_buffer.Length);
    }

    /// <summary>Call it under the lock.</summary>
    private void Hold(long bytes)
    {
        if (bytes != _held)
        {
            connection.Account?.Add(bytes - _held);
            _held = bytes;
        }
    }

    /// <summary>Ends the wait, if there is one, before the caller completes it. Call it under the lock.</summary>
    /// <returns>Whether there was one.</returns>
    private bool EndWaiting()
    {
        if (!_isWaiting)
        {
            return false;
        }
        _isWaiting = false;
        _cancel = default;
        // Does not wait for a concurrent cancellation, which will find another wait, or none.
        _registration.Unregister();
        _registration = default;
        return true;
    }

    private void ThrowIfWaiting()
    {
        if (_isWaiting)
        {
            throw new InvalidOperationException("the connection is being read from already");
        }
    }

    private void CancelRead(CancellationToken cancel)
    {
        lock (socket.Lock)
        {
            // The wait that was canceled may have ended, and another one begun.
            if (_cancel != cancel || !EndWaiting())
            {
                return;
            }
        }
        _read.RunContinuationsAsynchronously = true;
        _read.SetException(new OperationCanceledException(cancel));
    }

    private void Complete(ReadResult result, Exception? failure)
    {
        if (failure is null)
        {
            _read.SetResult(result);
        }
        else
        {
            _read.SetException(failure);
        }
    }
}
