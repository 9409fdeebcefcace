using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Kedge.Wire.Loops;
using Kedge.Wire.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Wire.Transport;

/// <summary>A caller's connection on an event loop, in the form that the server expects.</summary>
public sealed class LoopConnection : ConnectionContext,
    IDuplexPipe,
    IConnectionIdFeature,
    IConnectionItemsFeature,
    IConnectionTransportFeature,
    IConnectionLifetimeFeature,
    IConnectionEndPointFeature,
    IMemoryPoolFeature,
    IEventLoopFeature,
    ITcpInfoFeature,
    ILoopHandler
{
    internal static readonly Type[] OwnFeatures =
    [
        typeof(IConnectionIdFeature),
        typeof(IConnectionItemsFeature),
        typeof(IConnectionTransportFeature),
        typeof(IConnectionLifetimeFeature),
        typeof(IConnectionEndPointFeature),
        typeof(IMemoryPoolFeature),
        typeof(IEventLoopFeature),
        typeof(ITcpInfoFeature),
    ];

    // How long the last bytes wait for a caller that accepts none of them.
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(10);

    // How many unread bytes from the caller are discarded before the socket is closed: otherwise the system would reset
    // the connection, and the last bytes on their way to the caller would be lost.
    private const int MaxDiscarded = 1024 * 1024;

    private static long _connections = DateTime.UtcNow.Ticks;

    private readonly LoopSocket _socket;
    private readonly LoopInput _input;
    private readonly LoopOutput _output;
    private readonly CancellationTokenSource _closed = new();
    private int _isClosedReported;
    private TaskCompletionSource? _sent;
    private volatile bool _continuesOnPool = true;
    private string? _id;
    private EndPoint? _local;
    private IDictionary<object, object?>? _items;

    internal LoopConnection(LoopSocket socket, EndPoint? remote, MemoryPool<byte> memory)
    {
        _socket = socket;
        _input = new LoopInput(this, socket);
        _output = new LoopOutput(this, socket);
        Transport = this;
        Features = new ConnectionFeatures(this);
        RemoteEndPoint = remote;
        MemoryPool = memory;
        ConnectionClosed = _closed.Token;
    }

    public override string ConnectionId
    {
        get => _id ??= Interlocked.Increment(ref _connections).ToString("X", CultureInfo.InvariantCulture);
        set => _id = value;
    }

    public override IFeatureCollection Features { get; }

    public override IDictionary<object, object?> Items
    {
        get => _items ??= new ConnectionItems();
        set => _items = value;
    }

    public override IDuplexPipe Transport { get; set; }

    public override CancellationToken ConnectionClosed { get; set; }

    public override EndPoint? LocalEndPoint
    {
        get
        {
            if (_local is null)
            {
                lock (_socket.Lock)
                {
                    _local = _socket.LocalAddress();
                }
            }
            return _local;
        }
        set => _local = value;
    }

    public override EndPoint? RemoteEndPoint { get; set; }

    public MemoryPool<byte> MemoryPool { get; }

    /// <summary>Charged for the bytes held for the connection beyond the buffers of the server; null = none.</summary>
    public IMemoryAccount? Account { get; set; }

    public bool ContinuesOnPool
    {
        get => _continuesOnPool;
        set => _continuesOnPool = value;
    }

    PipeReader IDuplexPipe.Input => _input;

    PipeWriter IDuplexPipe.Output => _output;

    public int CopyTcpInfo(Span<byte> info)
    {
        lock (_socket.Lock)
        {
            return _socket.CopyTcpInfo(info);
        }
    }

    public override void Abort() => Abort(new ConnectionAbortedException("the server aborted the connection"));

    /// <summary>
    /// Closes the connection with a reset. Reads fail with the reason, writes are ignored. Can be called at any time,
    /// from any thread.
    /// </summary>
    public override void Abort(ConnectionAbortedException abortReason) => Break(abortReason);

    /// <summary>Sends the flushed bytes, as long as the caller accepts them, and closes the connection.</summary>
    public override async ValueTask DisposeAsync()
    {
        _output.Complete();
        _output.Continue();
        await SendRestAsync();
        bool endsRead, endsFlush;
        lock (_socket.Lock)
        {
            Discard();
            endsFlush = _output.Fail();
            endsRead = _input.Fail(new ConnectionAbortedException("the connection was closed"));
            Close(resets: false);
        }
        End(endsRead, endsFlush);
        _input.Complete();
        await base.DisposeAsync();
    }

    void ILoopHandler.OnEvents(LoopEvents events)
    {
        bool sends;
        lock (_socket.Lock)
        {
            if (_socket.IsClosed)
            {
                return;
            }
            _socket.Note(events);
            sends = _output.Unsent > 0;
        }
        if (sends)
        {
            _output.Continue();
        }
        _input.Continue(events);
    }

    /// <summary>Registers the connection with its loop.</summary>
    /// <exception cref="SocketException">The system cannot register it.</exception>
    internal void Start()
    {
        _socket.Attach(this);
        _socket.Loop.CallerOpened();
    }

    /// <summary>Resets the connection, which is of no further use.</summary>
    internal void Break(Exception reason)
    {
        bool endsRead, endsFlush;
        lock (_socket.Lock)
        {
            if (_socket.IsClosed)
            {
                return;
            }
            endsFlush = _output.Fail();
            endsRead = _input.Fail(reason);
            Close(resets: true);
            OutputSent();
        }
        End(endsRead, endsFlush);
    }

    /// <summary>The caller's direction has ended, or failed. Call it under the lock.</summary>
    internal void InputEnded() => ReportClosed();

    /// <summary>Nothing is left to send. Call it under the lock.</summary>
    internal void OutputSent() => _sent?.TrySetResult();

    internal static IOException Failure(int error)
    {
        var cause = Errno.ToException(error);
        return cause.SocketErrorCode is SocketError.ConnectionReset or SocketError.Shutdown
            ? new ConnectionResetException(cause.Message, cause)
            : new IOException(cause.Message, cause);
    }

    /// <summary>Waits until everything is sent, or the caller has accepted nothing for a while.</summary>
    private async Task SendRestAsync()
    {
        int unsent, before = int.MaxValue;
        Task sent;
        lock (_socket.Lock)
        {
            unsent = _socket.IsClosed ? 0 : _output.Unsent;
            _sent = unsent == 0 ? null : new(TaskCreationOptions.RunContinuationsAsynchronously);
            sent = _sent?.Task ?? Task.CompletedTask;
        }
        while (!sent.IsCompleted && unsent < before)
        {
            await sent.WaitAsync(CloseTimeout).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            before = unsent;
            lock (_socket.Lock)
            {
                unsent = _output.Unsent;
            }
        }
    }

    /// <summary>Call it under the lock.</summary>
    private void Close(bool resets)
    {
        if (!_socket.IsClosed)
        {
            _socket.Loop.CallerClosed();
        }
        _socket.Close(resets);
    }

    private void End(bool endsRead, bool endsFlush)
    {
        if (endsRead)
        {
            _input.EndWait();
        }
        if (endsFlush)
        {
            _output.EndWait();
        }
        ReportClosed();
    }

    private void Discard()
    {
        if (!_socket.IsReadable || _socket.IsClosed)
        {
            return;
        }
        var buffer = ArrayPool<byte>.Shared.Rent(16 * 1024);
        for (var discarded = 0; discarded < MaxDiscarded && _socket.IsReadable;)
        {
            var count = _socket.Receive(buffer, out _);
            if (count <= 0)
            {
                break;
            }
            discarded += count;
        }
        ArrayPool<byte>.Shared.Return(buffer);
    }

    /// <summary>Never on the loop: the callbacks may do anything.</summary>
    private void ReportClosed()
    {
        if (Interlocked.Exchange(ref _isClosedReported, 1) == 0)
        {
            ThreadPool.UnsafeQueueUserWorkItem(
                static connection =>
                {
                    try
                    {
                        connection._closed.Cancel();
                    }
                    catch (AggregateException e)
                    {
                        connection._socket.Loop.Report(e);
                    }
                },
                this,
                preferLocal: false);
        }
    }
}
