using System.Buffers;
using Kedge.Wire.Loops;
using Kedge.Wire.Sockets;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

/// <summary>
/// An HTTP/2 connection to an endpoint, in clear text with prior knowledge, or over TLS with ALPN (RFC 9113, section
/// 3).
/// </summary>
/// <remarks>
/// One lock guards the <see cref="Http2Session"/>. The thread that creates frames writes them, unless another thread is
/// already writing: there is no dedicated writer, and the frames that several threads create in the meantime go out in
/// one write. No foreign code is called under the lock: such calls are collected, and made after its release.
/// </remarks>
public sealed partial class Http2Connection : IUpstreamConnection
{
    private const int InputSize = 2 * Http2Session.MaxFrame;

    // How long a connection that is ending may take to read the remaining bytes, or to write its last frames.
    private static readonly TimeSpan ClosePatience = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly ByteChannel _channel;
    private readonly Http2Options _options;
    private readonly IConnectionOwner _owner;
    private readonly Http2Session _session;
    private readonly KeepAlive _keepAlive;
    private readonly ITimer _timer;
    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Streams that must be signalled after the lock is released.
    private List<Http2Exchange> _changed = [];
    private List<Http2Exchange>? _spareList;

    private int _reserved;
    private long? _idleSince;
    private bool _isTimerOn;
    private bool _wasAvailable = true;
    private bool _isRetired;
    // Whether the owner has received the connection, or is about to; and whether it knows that the connection is
    // retired.
    private bool _isKnown;
    private bool _isRetiredKnown;
    private bool _isClosed;

    private Http2Connection(
        ByteChannel channel, Http2Options options, IConnectionOwner owner, ConnectionObserver observer)
    {
        _channel = channel;
        _options = options;
        _owner = owner;
        _session = new Http2Session(options, observer);
        _keepAlive = new KeepAlive(options);
        _idleSince = Environment.TickCount64;
        _timer = options.Clock.CreateTimer(
            static state => ((Http2Connection)state!).Tick(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public int FreeStreams
    {
        get
        {
            lock (_lock)
            {
                return Free;
            }
        }
    }

    public int ActiveStreams
    {
        get
        {
            lock (_lock)
            {
                return _session.Count + _reserved;
            }
        }
    }

    public long? IdleSince
    {
        get
        {
            lock (_lock)
            {
                return _idleSince;
            }
        }
    }

    public long? MaxIdle => null;

    public EventLoop? Loop => _channel.Loop;

    internal Http2Options Options => _options;

    private int Free => _isRetired ? 0 : Math.Max(0, _session.FreeStreams - _reserved);

    private long Now => _options.Clock.GetTimestamp() / (_options.Clock.TimestampFrequency / 1000);

    /// <summary>Takes over a channel: sends the connection preface and waits for the endpoint's SETTINGS.</summary>
    /// <param name="owner">Called only after the endpoint's SETTINGS have arrived.</param>
    /// <exception cref="UpstreamException">The endpoint did not send its SETTINGS; the kind is
    /// <see cref="FailureKind.Connect"/>, and the channel is closed.</exception>
    /// <exception cref="OperationCanceledException">The operation was canceled; the channel is closed.</exception>
    public static async ValueTask<IUpstreamConnection> StartAsync(
        ByteChannel channel, Http2Options options, IConnectionOwner owner, ConnectionObserver observer,
        CancellationToken cancel)
    {
        var connection = new Http2Connection(channel, options, owner, observer);
        connection._session.Start();
        connection.Flush();
        _ = connection.ReadAsync();
        try
        {
            await connection._ready.Task.WaitAsync(options.SettingsTimeout, options.Clock, cancel);
            return connection;
        }
        catch (TimeoutException)
        {
            connection.Abandon();
            throw new UpstreamException(
                FailureKind.Connect, SentState.NothingSent,
                $"the endpoint sent no HTTP/2 SETTINGS within {options.SettingsTimeout.TotalSeconds:0.###} s")
            {
                BeforeAnyResponseByte = true,
            };
        }
        catch
        {
            connection.Abandon();
            throw;
        }
    }

    public bool TryReserve()
    {
        lock (_lock)
        {
            if (Free == 0)
            {
                return false;
            }
            _reserved++;
            _idleSince = null;
            _wasAvailable = Free > 0;
            return true;
        }
    }

    public ValueTask<UpstreamResponse> SendAsync(UpstreamRequest request, CancellationToken cancel)
    {
        var exchange = new Http2Exchange(this, request, cancel);
        exchange.Register();
        var problem = RequestHead.Check(request, out var size);
        After after;
        lock (_lock)
        {
            _reserved--;
            var wasIdle = _session.Count == 0;
            if (problem is not null)
            {
                exchange.Refuse(FailureKind.InvalidRequest, $"the request cannot be sent: {problem}");
            }
            else if (size > _session.Peer.MaxHeaderListSize)
            {
                exchange.Refuse(
                    FailureKind.InvalidRequest,
                    $"the header section has {size} bytes, and the endpoint takes {_session.Peer.MaxHeaderListSize}");
            }
            else if (exchange.HasFailed)
            {
                // It was canceled before it was opened.
            }
            else if (!_session.TryOpen(exchange, request, exchange.IsEmpty))
            {
                exchange.Refuse(
                    _session.Failure?.Kind ?? FailureKind.Limit,
                    _session.Failure?.Message ?? "the connection takes no more requests");
            }
            else if (wasIdle)
            {
                StartTimer();
            }
            after = Settle();
        }
        // Content that is already available is sent together with the header section.
        exchange.Begin();
        Flush();
        Run(after);
        return new(exchange.Response);
    }

    public void Retire()
    {
        After after;
        lock (_lock)
        {
            _isRetired = true;
            after = Settle();
        }
        Flush();
        Run(after);
    }

    /// <summary>
    /// Schedules a call of <see cref="Http2Exchange.Signal"/> for after the lock. Call it under the lock.
    /// </summary>
    internal void Changed(Http2Exchange exchange) => _changed.Add(exchange);

    /// <summary>
    /// Runs an action under the lock, then writes the frames and makes the calls that result from it.
    /// </summary>
    internal void Do<TArgument>(Action<Http2Session, TArgument> action, TArgument argument)
    {
        After after;
        lock (_lock)
        {
            action(_session, argument);
            after = Settle();
        }
        Flush();
        Run(after);
    }

    /// <summary>The lock under which the session calls the streams.</summary>
    internal Lock Lock => _lock;

    internal Http2Session Session => _session;

    private async Task ReadAsync()
    {
        var input = Array.Empty<byte>();
        var start = 0;
        var end = 0;
        Exception? cause = null;
        try
        {
            while (true)
            {
                if (input.Length == 0)
                {
                    // An idle connection holds no buffer.
                    await _channel.ReadAsync(Memory<byte>.Empty);
                    input = ArrayPool<byte>.Shared.Rent(InputSize);
                }
                var count = await _channel.ReadAsync(input.AsMemory(end));
                if (count == 0)
                {
                    break;
                }
                end += count;
                start += Take(input.AsSpan(start, end - start), out var isIdle, out var isOver);
                if (isOver)
                {
                    break;
                }
                if (start == end)
                {
                    start = end = 0;
                    if (isIdle)
                    {
                        ArrayPool<byte>.Shared.Return(input);
                        input = [];
                    }
                }
                else if (input.Length - end < Http2Session.MaxFrame)
                {
                    input.AsSpan(start, end - start).CopyTo(input);
                    end -= start;
                    start = 0;
                }
            }
        }
        catch (Exception e)
        {
            cause = e;
        }
        if (input.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(input);
        }
        Lose(
            FailureKind.Closed,
            cause is null
                ? "the endpoint closed the connection"
                : $"the connection to the endpoint broke: {cause.Message}",
            cause);
    }

    private int Take(ReadOnlySpan<byte> bytes, out bool isIdle, out bool isOver)
    {
        After after;
        int taken;
        bool wasReady;
        bool isReady;
        lock (_lock)
        {
            wasReady = _session.IsReady;
            taken = _session.Receive(bytes, Now);
            if (_session.HasNewWindow)
            {
                _session.HasNewWindow = false;
                GiveTurns();
            }
            isOver = _session.Failure is not null;
            isReady = _session.IsReady && !isOver;
            _isKnown |= isReady;
            isIdle = _session.Count == 0;
            after = Settle();
        }
        Flush();
        Run(after);
        if (!wasReady && isReady)
        {
            // Only now, so that the owner already knows if the connection is ending.
            _ready.TrySetResult();
        }
        return taken;
    }

    private void Tick()
    {
        After after;
        var isLost = false;
        lock (_lock)
        {
            if (_session.Count == 0 || _session.Failure is not null)
            {
                _isTimerOn = false;
                _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                return;
            }
            switch (_keepAlive.Decide(Now, _session.FramesReceived, _session.PingsAnswered))
            {
                case KeepAliveAction.Ping:
                    _session.Ping();
                    break;
                case KeepAliveAction.Lose:
                    isLost = true;
                    break;
            }
            after = Settle();
        }
        if (isLost)
        {
            Lose(
                FailureKind.Closed,
                $"the endpoint did not respond to a PING within {_options.PingTimeout.TotalSeconds:0.###} s", null);
            return;
        }
        Flush();
        Run(after);
    }

    private void StartTimer()
    {
        _keepAlive.Activate(Now);
        if (!_isTimerOn)
        {
            _isTimerOn = true;
            var period = TimeSpan.FromMilliseconds(Math.Max(1, Math.Min(
                _options.PingAfter.TotalMilliseconds, _options.PingTimeout.TotalMilliseconds) / 4));
            _timer.Change(period, period);
        }
    }

    /// <summary>Gives up a connection that is not in use yet.</summary>
    private void Abandon()
    {
        lock (_lock)
        {
            _isRetired = true;
            _isRetiredKnown = true;
        }
        _channel.Abort();
    }

    private void Lose(FailureKind kind, string message, Exception? cause)
    {
        After after;
        StreamFailure failure;
        lock (_lock)
        {
            _session.Lose(kind, message, cause);
            failure = _session.Failure!;
            after = Settle();
        }
        _ready.TrySetException(new UpstreamException(
            FailureKind.Connect, SentState.NothingSent, $"no HTTP/2 connection: {failure.Message}", failure.Cause)
        {
            BeforeAnyResponseByte = true,
        });
        Dispatch(after);
        _ = CloseAsync();
    }

    /// <summary>Closes the channel after the last frames were written.</summary>
    private async Task CloseAsync()
    {
        lock (_lock)
        {
            if (_isClosed)
            {
                return;
            }
            _isClosed = true;
        }
        Flush();
        for (var waited = TimeSpan.Zero; IsWriting() && waited < ClosePatience; waited += TimeSpan.FromMilliseconds(50))
        {
            await Task.Delay(50);
        }
        await _timer.DisposeAsync();
        try
        {
            await _channel.DisposeAsync();
        }
        catch (IOException)
        {
            // It was broken already.
        }
        bool isKnown;
        lock (_lock)
        {
            isKnown = _isKnown;
        }
        if (isKnown)
        {
            _owner.Closed(this);
        }
    }

    /// <summary>Collects the calls to make after the lock is released. Call it under the lock.</summary>
    private After Settle()
    {
        var active = _session.Count + _reserved;
        if (active > 0)
        {
            _idleSince = null;
        }
        else
        {
            _idleSince ??= Environment.TickCount64;
        }
        _isRetired |= _session.IsDraining || _session.Failure is not null;
        var closes = false;
        if (_isRetired && active == 0 && _session.Failure is null)
        {
            _session.Leave();
            closes = true;
        }
        var retires = _isRetired && _isKnown && !_isRetiredKnown;
        _isRetiredKnown |= retires;
        var isAvailable = Free > 0;
        var becomesAvailable = isAvailable && !_wasAvailable;
        _wasAvailable = isAvailable;
        List<Http2Exchange>? changed = null;
        if (_changed.Count > 0)
        {
            changed = _changed;
            _changed = _spareList ?? [];
            _spareList = null;
        }
        return new After(changed, becomesAvailable, retires, closes);
    }

    private void Run(in After after)
    {
        if (after.Changed is { } changed)
        {
            // The last one continues right here, the others on pool threads.
            for (var i = 0; i < changed.Count - 1; i++)
            {
                ThreadPool.UnsafeQueueUserWorkItem(changed[i], preferLocal: false);
            }
            var last = changed[^1];
            Recycle(changed);
            last.Signal();
        }
        Notify(after);
    }

    private void Dispatch(in After after)
    {
        if (after.Changed is { } changed)
        {
            foreach (var exchange in changed)
            {
                ThreadPool.UnsafeQueueUserWorkItem(exchange, preferLocal: false);
            }
            Recycle(changed);
        }
        Notify(after);
    }

    private void Recycle(List<Http2Exchange> list)
    {
        list.Clear();
        lock (_lock)
        {
            _spareList = list;
        }
    }

    private void Notify(in After after)
    {
        if (after.Retires)
        {
            _owner.Retired(this);
        }
        if (after.BecomesAvailable)
        {
            _owner.Available(this);
        }
        if (after.Closes)
        {
            _ = CloseAsync();
        }
    }

    private readonly record struct After(
        List<Http2Exchange>? Changed, bool BecomesAvailable, bool Retires, bool Closes);
}
