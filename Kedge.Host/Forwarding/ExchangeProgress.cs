namespace Kedge.Host.Forwarding;

/// <summary>
/// Tracks whether an exchange makes progress, and what cancels it: a lack of progress for HTTP, or a deadline. The body
/// streams report to it; <see cref="InactivityMonitor"/> reads it.
/// </summary>
/// <param name="isExempt">See <see cref="IsExempt"/>.</param>
internal sealed class ExchangeProgress(bool isExempt)
{
    private long _lastProgress = Environment.TickCount64;
    private long _deadline;
    private volatile bool _isReadingRequest;
    private volatile bool _isInactive;
    private volatile bool _isAwaitingCaller;
    private volatile bool _callerStalled;
    private volatile bool _isUnread;
    private WatchList? _list;
    private ExchangeProgress? _next;
    private ExchangeProgress? _previous;

    /// <summary>Cancels the exchange; null = it has no time limit.</summary>
    public CancellationTokenSource? Cancellation { get; set; }

    /// <summary>
    /// Whether the route, or the caller of a gRPC call, has set a deadline, which then cancels
    /// <see cref="Cancellation"/>.
    /// </summary>
    public bool HasDeadline { get; private set; }

    /// <summary>
    /// The time left until the deadline, never negative; <see cref="TimeSpan.MaxValue"/> when there is none.
    /// </summary>
    public TimeSpan Left => HasDeadline
        ? TimeSpan.FromMilliseconds(Math.Max(0, _deadline - Environment.TickCount64))
        : TimeSpan.MaxValue;

    public bool DeadlineHasPassed => HasDeadline && !_isInactive && Cancellation is { IsCancellationRequested: true };

    /// <summary>
    /// When a byte of the request was last read or a byte of the response last written, as
    /// <see cref="Environment.TickCount64"/>.
    /// </summary>
    public long LastProgress => Volatile.Read(ref _lastProgress);

    /// <summary>Whether the request body is still being read.</summary>
    public bool IsReadingRequest => _isReadingRequest;

    /// <summary>
    /// Whether the exchange may be silent for any time: gRPC streams and upgraded connections. The caller must still
    /// read its response.
    /// </summary>
    public bool IsExempt { get; set; } = isExempt;

    /// <summary>Whether the monitor has ended the exchange because it made no progress.</summary>
    public bool IsInactive => _isInactive;

    /// <summary>Whether it was ended because the caller, rather than the endpoint, made no progress.</summary>
    public bool CallerStalled => _callerStalled;

    /// <summary>Whether a read of the request body waits for the caller.</summary>
    public bool IsAwaitingCaller
    {
        set => _isAwaitingCaller = value;
    }

    /// <summary>
    /// Whether a part of the response has been read from the endpoint but not accepted by the caller.
    /// </summary>
    public bool IsUnread => _isUnread;

    /// <summary>Why the request body could not be read from the caller; null when it could.</summary>
    public Exception? CallerFault { get; set; }

    /// <summary>Whether the exchange failed because of its caller, so that no endpoint is to blame.</summary>
    public bool IsCallersFault => _callerStalled || CallerFault is not null;

    /// <summary>Sets a deadline: the exchange must end within this time.</summary>
    public void SetDeadline(TimeSpan time)
    {
        HasDeadline = true;
        _deadline = Environment.TickCount64 + (long)Math.Min(time.TotalMilliseconds, long.MaxValue / 4);
        Cancellation!.CancelAfter(time);
    }

    /// <summary>Removes the deadline.</summary>
    public void ClearDeadline()
    {
        if (HasDeadline)
        {
            HasDeadline = false;
            Cancellation?.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }

    public void NoteProgress() => Volatile.Write(ref _lastProgress, Environment.TickCount64);

    /// <summary>A part of the response is being written to the caller.</summary>
    public void ResponseWriteStarted()
    {
        _isUnread = true;
        NoteProgress();
    }

    /// <summary>The caller, or the buffers on the way to it, accepted the bytes.</summary>
    public void ResponseWriteCompleted()
    {
        _isUnread = false;
        NoteProgress();
    }

    /// <summary>The request body is read from now on.</summary>
    public void RequestBodyStarted()
    {
        NoteProgress();
        _isReadingRequest = true;
    }

    public void RequestBodyCompleted()
    {
        _isReadingRequest = false;
        NoteProgress();
    }

    /// <summary>
    /// The exchange has ended: it is no longer watched, and its cancellation source can serve another exchange.
    /// </summary>
    public void End()
    {
        _list?.Remove(this);
        // The monitor may be about to cancel the source of an inactive exchange, so that source must not be reused.
        if (Cancellation is { } source && !_isInactive)
        {
            CancellationSources.Return(source);
        }
    }

    /// <summary>The watched exchanges, which hold the links themselves so that adding one allocates nothing.</summary>
    internal sealed class WatchList
    {
        private readonly Lock _lock = new();
        private ExchangeProgress? _head;

        public void Add(ExchangeProgress exchange)
        {
            exchange._list = this;
            lock (_lock)
            {
                exchange._next = _head;
                if (_head is { } head)
                {
                    head._previous = exchange;
                }
                _head = exchange;
            }
        }

        public void Remove(ExchangeProgress exchange)
        {
            lock (_lock)
            {
                if (exchange._previous is { } previous)
                {
                    previous._next = exchange._next;
                }
                else
                {
                    _head = exchange._next;
                }
                if (exchange._next is { } next)
                {
                    next._previous = exchange._previous;
                }
            }
            exchange._list = null;
            exchange._next = exchange._previous = null;
        }

        /// <summary>Marks the exchanges that have exceeded a limit as inactive, once each, and collects them.</summary>
        /// <param name="now">As <see cref="Environment.TickCount64"/>.</param>
        /// <param name="readLimit">In milliseconds, while the request body is read.</param>
        /// <param name="writeLimit">In milliseconds, after that.</param>
        /// <param name="unreadLimit">In milliseconds, for exempt exchanges whose response is not read.</param>
        /// <param name="inactive">Receives them; created for the first one.</param>
        public void MarkInactive(
            long now, long readLimit, long writeLimit, long unreadLimit, ref List<ExchangeProgress>? inactive)
        {
            lock (_lock)
            {
                for (var exchange = _head; exchange is not null; exchange = exchange._next)
                {
                    var limit = exchange.IsExempt ? (exchange._isUnread ? unreadLimit : long.MaxValue)
                        : exchange.IsReadingRequest ? readLimit
                        : writeLimit;
                    if (now - exchange.LastProgress > limit && !exchange._isInactive)
                    {
                        exchange._callerStalled = exchange._isUnread || exchange._isAwaitingCaller;
                        exchange._isInactive = true;
                        (inactive ??= []).Add(exchange);
                    }
                }
            }
        }
    }
}
