using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Kedge.Wire.Loops;

namespace Kedge.Wire.Sockets;

/// <summary>
/// A non-blocking TCP socket whose readiness an <see cref="EventLoop"/> reports. Any thread may call it, but only under
/// <see cref="Lock"/>, except for the constructor and <see cref="Attach"/>: an event that is reported while another
/// thread finds the socket empty waits for the lock, so it is not lost.
/// </summary>
internal sealed unsafe class LoopSocket
{
    // How much one socket may receive in a turn before the loop serves its other sockets.
    private const int MaxReceivedPerTurn = 256 * 1024;
    private const int MaxReceivesPerTurn = 64;

    private readonly FileDescriptor _socket;
    private ulong _key;
    private bool _isAttached;
    private bool _hasSpecialEvents;
    // An error that a send or a peek has consumed (the system reports it only once) and that the next read must report.
    private int _error;
    private long _turn;
    private int _receivedInTurn;
    private int _receivesInTurn;

    /// <param name="socket">Non-blocking; this object takes ownership.</param>
    public LoopSocket(EventLoop loop, FileDescriptor socket)
    {
        Loop = loop;
        _socket = socket;
    }

    public EventLoop Loop { get; }

    public Lock Lock { get; } = new();

    /// <summary>Whether there may be something to receive. Once false, it stays false until the next event.</summary>
    public bool IsReadable { get; private set; }

    /// <summary>Whether there may be room to send.</summary>
    public bool IsWritable { get; private set; }

    public bool IsClosed { get; private set; }

    /// <summary>
    /// Whether the socket has received its share of the current turn of this thread's loop, so that it should wait for
    /// the next turn.
    /// </summary>
    public bool HasHadItsTurn =>
        EventLoop.Current is { } loop
        && loop.Turn == _turn
        && (_receivedInTurn >= MaxReceivedPerTurn || _receivesInTurn >= MaxReceivesPerTurn);

    /// <summary>Opens a socket for outgoing connections.</summary>
    /// <param name="keepAlive">See <see cref="TcpConnection"/>.</param>
    /// <exception cref="SocketException">The system cannot open one.</exception>
    public static FileDescriptor Open(AddressFamily family, TimeSpan keepAlive)
    {
        var socket = new FileDescriptor(Libc.Socket(
            family == AddressFamily.InterNetwork ? Libc.InetFamily : Libc.Inet6Family,
            Libc.StreamSocket | Libc.NonBlocking | Libc.CloseOnExec,
            0));
        var seconds = (int)keepAlive.TotalSeconds;
        SetOption(socket, Libc.TcpLevel, Libc.NoDelay, 1);
        SetOption(socket, Libc.SocketLevel, Libc.KeepAlive, 1);
        SetOption(socket, Libc.TcpLevel, Libc.KeepAliveIdle, seconds);
        SetOption(socket, Libc.TcpLevel, Libc.KeepAliveInterval, seconds / 3);
        SetOption(socket, Libc.TcpLevel, Libc.KeepAliveCount, 3);
        return socket;
    }

    public static void SetOption(SafeHandle socket, int level, int name, int value) =>
        _ = Libc.SetOption(socket, level, name, &value, sizeof(int));

    /// <summary>Begins to connect. Call it before <see cref="Attach"/>.</summary>
    /// <returns>The error number; 0 when connecting has begun or has already succeeded.</returns>
    public int Connect(IPEndPoint address)
    {
        var native = stackalloc byte[NativeAddress.MaxSize];
        var size = NativeAddress.Write(address, new Span<byte>(native, NativeAddress.MaxSize));
        if (Libc.Connect(_socket, native, size) == 0)
        {
            return 0;
        }
        // An interrupted call also continues in the background (connect(2)).
        return Marshal.GetLastPInvokeError() is var error and not (Errno.InProgress or Errno.Interrupted) ? error : 0;
    }

    /// <summary>Registers the socket with its loop, which reports first what the socket is ready for now.</summary>
    /// <exception cref="SocketException">The system cannot register it.</exception>
    public void Attach(ILoopHandler handler)
    {
        var key = Loop.Add(
            _socket, handler, LoopEvents.Readable | LoopEvents.Writable | LoopEvents.PeerEnded | LoopEvents.Urgent);
        lock (Lock)
        {
            _key = key;
            _isAttached = true;
            if (IsClosed)
            {
                Loop.Remove(key);
            }
        }
    }

    /// <summary>Records events before they are handled.</summary>
    public void Note(LoopEvents events)
    {
        const LoopEvents special =
            LoopEvents.PeerEnded | LoopEvents.HungUp | LoopEvents.Error | LoopEvents.Urgent;
        _hasSpecialEvents |= (events & special) != 0;
        IsReadable |= (events & (LoopEvents.Readable | special)) != 0;
        IsWritable |= (events & (LoopEvents.Writable | LoopEvents.HungUp | LoopEvents.Error)) != 0;
    }

    /// <summary>Receives available bytes.</summary>
    /// <param name="buffer">Not empty.</param>
    /// <param name="error">The error number when -1 is returned; 0 = nothing is available yet.</param>
    /// <returns>The number of bytes; 0 = the peer has ended its direction; -1 = nothing is available yet, or an error.
    /// </returns>
    public int Receive(Span<byte> buffer, out int error)
    {
        error = 0;
        nint count;
        fixed (byte* bytes = buffer)
        {
            do
            {
                count = Libc.Receive(_socket, bytes, buffer.Length, 0);
            }
            while (count < 0 && (error = Marshal.GetLastPInvokeError()) == Errno.Interrupted);
        }
        if (count == 0 && _error != 0)
        {
            // It looks like an end, but it was an error.
            error = _error;
            return -1;
        }
        if (count >= 0)
        {
            error = 0;
            // A short read means that the socket is empty and that another event will follow, unless an earlier event
            // signals something after these bytes: the end, an error, or urgent data.
            if (count > 0 && count < buffer.Length && !_hasSpecialEvents)
            {
                IsReadable = false;
            }
            Count((int)count);
        }
        else if (error == Errno.Again)
        {
            error = 0;
            IsReadable = false;
        }
        return (int)count;
    }

    /// <summary>Whether a call of <see cref="Receive"/> would return something other than "nothing yet".</summary>
    public bool HasSomething()
    {
        byte one;
        if (!IsReadable)
        {
            return false;
        }
        if (Libc.Receive(_socket, &one, 1, Libc.Peek) < 0)
        {
            var error = Marshal.GetLastPInvokeError();
            IsReadable = error != Errno.Again;
            Keep(error);
        }
        return IsReadable;
    }

    /// <summary>Sends as many bytes as the socket has room for.</summary>
    /// <param name="error">The error number when -1 is returned; 0 = there is no room.</param>
    /// <returns>The number of bytes, or -1.</returns>
    public int Send(ReadOnlySpan<byte> bytes, out int error)
    {
        error = 0;
        nint count;
        fixed (byte* first = bytes)
        {
            do
            {
                count = Libc.Send(_socket, first, bytes.Length, Libc.NoSignal);
            }
            while (count < 0 && (error = Marshal.GetLastPInvokeError()) == Errno.Interrupted);
        }
        if (count >= 0)
        {
            error = 0;
        }
        else if (error == Errno.Again)
        {
            error = 0;
            IsWritable = false;
        }
        else
        {
            Keep(error);
        }
        return (int)count;
    }

    /// <summary>
    /// Takes the error that is pending on the socket; 0 = none. Also reports the outcome of connecting.
    /// </summary>
    public int TakeError()
    {
        var value = 0;
        var size = sizeof(int);
        return Libc.GetOption(_socket, Libc.SocketLevel, Libc.SocketError, &value, &size) == 0
            ? value
            : Marshal.GetLastPInvokeError();
    }

    /// <summary>Copies as much of struct tcp_info as fits and the system provides.</summary>
    /// <returns>How many bytes were copied; 0 = none.</returns>
    public int CopyTcpInfo(Span<byte> info)
    {
        if (IsClosed)
        {
            return 0;
        }
        var size = info.Length;
        fixed (byte* bytes = info)
        {
            return Libc.GetOption(_socket, Libc.TcpLevel, Libc.TcpInfo, bytes, &size) == 0 ? size : 0;
        }
    }

    public IPEndPoint? LocalAddress()
    {
        var native = stackalloc byte[NativeAddress.MaxSize];
        var size = NativeAddress.MaxSize;
        return !IsClosed && Libc.GetName(_socket, native, &size) == 0
            ? NativeAddress.Read(new ReadOnlySpan<byte>(native, size))
            : null;
    }

    /// <summary>Closes the socket. May be called more than once.</summary>
    /// <param name="resets">Whether to send the peer a reset and discard unsent bytes.</param>
    public void Close(bool resets)
    {
        if (IsClosed)
        {
            return;
        }
        IsClosed = true;
        IsReadable = IsWritable = false;
        if (_isAttached)
        {
            Loop.Remove(_key);
        }
        if (resets)
        {
            // struct linger: on, for 0 seconds.
            var linger = 1L;
            _ = Libc.SetOption(_socket, Libc.SocketLevel, Libc.Linger, &linger, sizeof(long));
        }
        else
        {
            _ = Libc.Shutdown(_socket, Libc.ShutdownBoth);
        }
        _socket.Dispose();
    }

    private void Keep(int error)
    {
        // After a broken pipe, the end of the peer's direction may be real: the peer has closed both directions.
        if (error is not (Errno.Again or Errno.Interrupted or Errno.BrokenPipe))
        {
            _error = error;
        }
    }

    private void Count(int received)
    {
        if (EventLoop.Current is not { } loop)
        {
            return;
        }
        if (loop.Turn != _turn)
        {
            _turn = loop.Turn;
            _receivedInTurn = 0;
            _receivesInTurn = 0;
        }
        _receivedInTurn += received;
        _receivesInTurn++;
    }
}
