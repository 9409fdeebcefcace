using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Threading.Tasks.Sources;
using Kedge.Wire.Loops;

namespace Kedge.Wire.Sockets;

/// <summary>
/// A TCP connection to a peer on an event loop. Code that awaits it continues on the loop's thread, or on a pool thread
/// if <see cref="ContinuesOnPool"/> is set.
/// </summary>
public sealed class LoopChannel : ByteChannel, ILoopHandler, ILoopWork, IValueTaskSource<int>, IValueTaskSource
{
    private readonly LoopSocket _socket;

    // Guarded by the socket's lock. The thread that clears a flag completes the wait, after it releases the lock.
    private bool _isConnecting;
    private bool _isReading;
    private bool _isWriting;
    private Memory<byte> _wanted;
    private ReadOnlyMemory<byte> _unsent;
    private IOException? _failure;
    private ManualResetValueTaskSourceCore<int> _read;
    private ManualResetValueTaskSourceCore<bool> _write;

    private volatile bool _continuesOnPool;

    private LoopChannel(LoopSocket socket) => _socket = socket;

    public override bool ContinuesOnPool
    {
        get => _continuesOnPool;
        set => _continuesOnPool = value;
    }

    public override EventLoop Loop => _socket.Loop;

    // Needs no lock: the value is out of date at once anyway.
    public override bool MayBeReadable => _socket.IsReadable;

    /// <summary>Connects, with the keep-alive of <see cref="TcpConnection"/>.</summary>
    /// <param name="loop">Serves the connection.</param>
    /// <exception cref="IOException">No connection could be made; the cause is a <see cref="SocketException"/>.
    /// </exception>
    /// <exception cref="OperationCanceledException">It was canceled.</exception>
    public static async ValueTask<ByteChannel> ConnectAsync(
        EventLoop loop, IPEndPoint address, CancellationToken cancel)
    {
        try
        {
            cancel.ThrowIfCancellationRequested();
            var channel = new LoopChannel(
                new LoopSocket(loop, LoopSocket.Open(address.AddressFamily, TcpConnection.DefaultKeepAlive)));
            await channel.ConnectAsync(address, cancel);
            return channel;
        }
        catch (SocketException e)
        {
            throw new IOException(e.SocketErrorCode.ToString(), e);
        }
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancel = default)
    {
        if (cancel.IsCancellationRequested)
        {
            return ValueTask.FromCanceled<int>(cancel);
        }
        bool waitsForTurn;
        ValueTask<int> read;
        lock (_socket.Lock)
        {
            waitsForTurn = _socket.IsReadable && _socket.HasHadItsTurn;
            if (!waitsForTurn && TryRead(buffer, out var count, out var error))
            {
                return error is null ? new(count) : ValueTask.FromException<int>(error);
            }
            if (_isReading)
            {
                throw new InvalidOperationException("the connection is being read from already");
            }
            _isReading = true;
            _wanted = buffer;
            _read.Reset();
            read = new(this, _read.Version);
        }
        if (waitsForTurn)
        {
            Loop.Post(this);
        }
        return cancel.CanBeCanceled ? WaitAsync(read, cancel) : read;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel = default)
    {
        if (cancel.IsCancellationRequested)
        {
            return ValueTask.FromCanceled(cancel);
        }
        ValueTask write;
        lock (_socket.Lock)
        {
            if (_isWriting || _isConnecting)
            {
                throw new InvalidOperationException("the connection is being written to already");
            }
            if (TryWrite(ref bytes, out var error))
            {
                return error is null ? default : ValueTask.FromException(error);
            }
            _isWriting = true;
            _unsent = bytes;
            _write.Reset();
            write = new(this, _write.Version);
        }
        return cancel.CanBeCanceled ? WaitAsync(write, cancel) : write;
    }

    public override void Abort()
    {
        bool endsRead, endsWrite;
        lock (_socket.Lock)
        {
            if (_socket.IsClosed)
            {
                return;
            }
            endsRead = _isReading;
            endsWrite = _isWriting || _isConnecting;
            _isReading = _isWriting = _isConnecting = false;
            _wanted = default;
            _unsent = default;
            _failure = new IOException("the connection was aborted");
            _socket.Close(resets: false);
        }
        // Runs continuations on the pool: this thread may hold locks.
        if (endsRead)
        {
            _read.RunContinuationsAsynchronously = true;
            _read.SetException(_failure);
        }
        if (endsWrite)
        {
            _write.RunContinuationsAsynchronously = true;
            _write.SetException(_failure);
        }
    }

    public override ValueTask DisposeAsync()
    {
        Abort();
        return default;
    }

    void ILoopHandler.OnEvents(LoopEvents events) => Continue(events);

    /// <summary>Continues a read that waited for its next turn.</summary>
    void ILoopWork.Run() => Continue(LoopEvents.None);

    int IValueTaskSource<int>.GetResult(short token) => _read.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<int>.GetStatus(short token) => _read.GetStatus(token);

    void IValueTaskSource<int>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _read.OnCompleted(continuation, state, token, flags);

    void IValueTaskSource.GetResult(short token) => _write.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _write.GetStatus(token);

    void IValueTaskSource.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _write.OnCompleted(continuation, state, token, flags);

    private async ValueTask ConnectAsync(IPEndPoint address, CancellationToken cancel)
    {
        ValueTask connected;
        lock (_socket.Lock)
        {
            if (_socket.Connect(address) is var error and not 0)
            {
                _socket.Close(resets: false);
                throw Errno.ToException(error);
            }
            _isConnecting = true;
            connected = new(this, _write.Version);
        }
        try
        {
            _socket.Attach(this);
            await using var registration = cancel.UnsafeRegister(static self => ((LoopChannel)self!).Abort(), this);
            await connected;
        }
        catch (Exception e)
        {
            Abort();
            cancel.ThrowIfCancellationRequested();
            if (e is IOException { InnerException: SocketException cause })
            {
                ExceptionDispatchInfo.Throw(cause);
            }
            throw;
        }
    }

    private void Continue(LoopEvents events)
    {
        int count = 0;
        IOException? readError = null, writeError = null;
        bool endsRead = false, endsWrite = false;
        lock (_socket.Lock)
        {
            if (_socket.IsClosed)
            {
                return;
            }
            _socket.Note(events);
            if (_isConnecting && _socket.IsWritable)
            {
                _isConnecting = false;
                endsWrite = true;
                if (_socket.TakeError() is var error and not 0)
                {
                    writeError = _failure = Failure(error);
                }
            }
            else if (_isWriting && TryWrite(ref _unsent, out writeError))
            {
                _isWriting = false;
                _unsent = default;
                endsWrite = true;
            }
            if (_isReading && TryRead(_wanted, out count, out readError))
            {
                _isReading = false;
                _wanted = default;
                endsRead = true;
            }
        }
        if (endsWrite)
        {
            _write.RunContinuationsAsynchronously = _continuesOnPool;
            Complete(ref _write, true, writeError);
        }
        if (endsRead)
        {
            _read.RunContinuationsAsynchronously = _continuesOnPool;
            Complete(ref _read, count, readError);
        }
    }

    /// <summary>Call it under the lock.</summary>
    /// <returns>False when there is nothing to read yet.</returns>
    private bool TryRead(Memory<byte> buffer, out int count, out IOException? error)
    {
        count = 0;
        error = _failure;
        if (error is not null)
        {
            return true;
        }
        if (buffer.IsEmpty)
        {
            return _socket.HasSomething();
        }
        if (!_socket.IsReadable)
        {
            return false;
        }
        count = _socket.Receive(buffer.Span, out var number);
        if (count >= 0)
        {
            return true;
        }
        count = 0;
        if (number == 0)
        {
            return false;
        }
        error = _failure = Failure(number);
        return true;
    }

    /// <summary>Call it under the lock.</summary>
    /// <param name="bytes">On return, the bytes that are still unsent.</param>
    /// <returns>False when the socket has no room for all of them yet.</returns>
    private bool TryWrite(ref ReadOnlyMemory<byte> bytes, out IOException? error)
    {
        error = _failure;
        while (error is null && bytes.Length > 0)
        {
            if (!_socket.IsWritable)
            {
                return false;
            }
            var count = _socket.Send(bytes.Span, out var number);
            if (count >= 0)
            {
                bytes = bytes[count..];
            }
            else if (number != 0)
            {
                // Bytes that the peer sent before the error can still be read.
                error = Failure(number);
            }
        }
        return true;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> WaitAsync(ValueTask<int> read, CancellationToken cancel)
    {
        await using var registration = cancel.UnsafeRegister(
            static (self, cancel) => ((LoopChannel)self!).CancelRead(cancel), this);
        return await read;
    }

    private async ValueTask WaitAsync(ValueTask write, CancellationToken cancel)
    {
        await using var registration = cancel.UnsafeRegister(static self => ((LoopChannel)self!).Abort(), this);
        try
        {
            await write;
        }
        catch (IOException)
        {
            cancel.ThrowIfCancellationRequested();
            throw;
        }
    }

    private void CancelRead(CancellationToken cancel)
    {
        lock (_socket.Lock)
        {
            if (!_isReading)
            {
                return;
            }
            _isReading = false;
            _wanted = default;
        }
        _read.RunContinuationsAsynchronously = true;
        _read.SetException(new OperationCanceledException(cancel));
    }

    private static void Complete<T>(ref ManualResetValueTaskSourceCore<T> source, T result, Exception? error)
    {
        if (error is null)
        {
            source.SetResult(result);
        }
        else
        {
            source.SetException(error);
        }
    }

    private static IOException Failure(int number)
    {
        var cause = Errno.ToException(number);
        return new IOException(cause.Message, cause);
    }
}
