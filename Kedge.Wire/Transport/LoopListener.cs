using System.Buffers;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Kedge.Wire.Loops;
using Kedge.Wire.Sockets;

namespace Kedge.Wire.Transport;

/// <summary>
/// Accepts connections and distributes them to the loops. One socket listens for all loops: with one for each, callers
/// would be spread unevenly, and a second server on the same port would go unnoticed.
/// </summary>
public sealed class LoopListener : ILoopHandler, IDisposable
{
    private readonly EventLoops _loops;
    private readonly EventLoop _loop;
    private readonly Socket _socket;
    private readonly MemoryPool<byte> _memory;
    private readonly ulong _key;
    private readonly Lock _lock = new();
    private bool _isReadable = true;
    private TaskCompletionSource? _waiter;

    /// <param name="socket">Listens; this object takes ownership.</param>
    /// <param name="memory">For the buffers of the server.</param>
    public LoopListener(EventLoops loops, Socket socket, MemoryPool<byte> memory)
    {
        _loops = loops;
        _loop = loops.LeastLoaded();
        _socket = socket;
        _memory = memory;
        socket.Blocking = false;
        EndPoint = socket.LocalEndPoint!;
        _key = _loop.Add(socket.SafeHandle, this, LoopEvents.Readable);
    }

    public EndPoint EndPoint { get; }

    /// <summary>Waits for a connection. Only one may wait at a time.</summary>
    /// <exception cref="SocketException">No connection can be accepted now, for example for lack of file descriptors.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The listener was closed.</exception>
    public async ValueTask<AcceptedConnection> AcceptAsync(CancellationToken cancel)
    {
        while (true)
        {
            cancel.ThrowIfCancellationRequested();
            Task wait;
            lock (_lock)
            {
                if (TryAccept() is { } accepted)
                {
                    return accepted;
                }
                _waiter = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                wait = _waiter.Task;
            }
            await wait.WaitAsync(cancel);
        }
    }

    /// <summary>Stops listening. Connections that were not accepted yet are reset.</summary>
    public void Dispose()
    {
        _loop.Remove(_key);
        _socket.Dispose();
    }

    void ILoopHandler.OnEvents(LoopEvents events)
    {
        lock (_lock)
        {
            _isReadable = true;
            _waiter?.TrySetResult();
            _waiter = null;
        }
    }

    /// <summary>Assigns an accepted connection to a loop.</summary>
    internal LoopConnection Open(FileDescriptor socket, EndPoint? remote)
    {
        var connection = new LoopConnection(new LoopSocket(_loops.WithFewestCallers(), socket), remote, _memory);
        connection.Start();
        return connection;
    }

    /// <summary>Accepts a connection; null when there is none. Call it under the lock.</summary>
    private unsafe AcceptedConnection? TryAccept()
    {
        var address = stackalloc byte[NativeAddress.MaxSize];
        while (_isReadable)
        {
            var size = NativeAddress.MaxSize;
            var number = Libc.Accept(_socket.SafeHandle, address, &size, Libc.NonBlocking | Libc.CloseOnExec);
            if (number >= 0)
            {
                var socket = new FileDescriptor(number);
                LoopSocket.SetOption(socket, Libc.TcpLevel, Libc.NoDelay, 1);
                return new AcceptedConnection(
                    this, socket, NativeAddress.Read(new(address, Math.Min(size, NativeAddress.MaxSize))));
            }
            var error = Marshal.GetLastPInvokeError();
            if (error == Errno.Again)
            {
                _isReadable = false;
            }
            else if (Errno.ToSocketError(error) is SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable
                or SocketError.NotSocket or SocketError.InvalidArgument)
            {
                throw Errno.ToException(error);
            }
            // Other errors concern a single connection, which has already failed (accept(2)).
        }
        return null;
    }
}

/// <summary>A connection that was accepted. Disposing of it closes it, unless it was opened.</summary>
public sealed class AcceptedConnection : IDisposable
{
    private readonly LoopListener _listener;
    private readonly FileDescriptor _socket;
    private readonly EndPoint? _remote;
    private bool _isOpen;

    internal AcceptedConnection(LoopListener listener, FileDescriptor socket, EndPoint? remote)
    {
        _listener = listener;
        _socket = socket;
        _remote = remote;
    }

    /// <summary>Begins to serve the connection.</summary>
    /// <exception cref="SocketException">The system cannot register it.</exception>
    public LoopConnection Open()
    {
        var connection = _listener.Open(_socket, _remote);
        _isOpen = true;
        return connection;
    }

    public void Dispose()
    {
        if (!_isOpen)
        {
            _socket.Dispose();
        }
    }
}
