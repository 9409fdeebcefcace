using System.Runtime.CompilerServices;
using Kedge.Wire.Http1;
using Kedge.Wire.Loops;

namespace Kedge.Wire.Upstream;

/// <summary>
/// The connections to one endpoint with the same TLS settings and protocol. A request takes a place on the connection
/// that was used last, or waits for the next place that becomes free. For waiting requests, the pool opens as many
/// connections as they need, judging by how many requests a connection is known to accept.
/// </summary>
public sealed class UpstreamPool : IConnectionOwner
{
    // For HTTP/2 connections, until one is open. RFC 9113, 6.5.2, recommends no fewer.
    private const int AssumedStreams = 100;

    // How many connections may turn out to be closed before a request fails.
    private const int MaxUnused = 8;

    // How many free connections are searched for one on the caller's loop.
    private const int MaxLookedAt = 16;

    private readonly Lock _lock = new();
    private readonly PoolOptions _options;
    private readonly ConnectionBudget _budget;
    private readonly ConnectionOpener _opener;
    // Open connections, including retired ones.
    private readonly Dictionary<IUpstreamConnection, OpenConnection> _open = [];
    // Connections with free places; the last one became free last.
    private readonly List<IUpstreamConnection> _free = [];
    // Connections that retired (false) or closed (true) before they were added.
    private readonly Dictionary<IUpstreamConnection, bool> _early = [];
    private readonly LinkedList<Waiter> _waiters = new();
    private int _dialing;
    private int _streams;
    private bool _isRemoved;
    private long _lastUsed = Environment.TickCount64;

    /// <param name="opener">Opens connections.</param>
    /// <param name="options">The limits.</param>
    /// <param name="budget">Shared by all pools.</param>
    public UpstreamPool(ConnectionOpener opener, PoolOptions options, ConnectionBudget budget)
    {
        _opener = opener;
        _options = options;
        _budget = budget;
        _streams = opener.MayBeHttp2 ? AssumedStreams : 1;
        budget.Add(this);
    }

    /// <summary>Whether the pool was removed, so that it accepts no more requests.</summary>
    public bool IsRemoved => Volatile.Read(ref _isRemoved);

    /// <summary>Sends a request on one of the connections.</summary>
    /// <param name="onNewConnection">Whether the connection must be one that has not carried a request.</param>
    /// <param name="observer">Of a connection that is opened for this request.</param>
    /// <returns>Null when the pool was removed: get another one.</returns>
    /// <inheritdoc cref="IUpstreamConnection.SendAsync"/>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<UpstreamResponse?> SendAsync(
        UpstreamRequest request, bool onNewConnection, ConnectionObserver observer, CancellationToken cancel)
    {
        for (var attempt = 1; ; attempt++)
        {
            var connection = onNewConnection
                ? await OpenOneAsync(observer)
                : await RentAsync(observer, cancel);
            if (connection is null)
            {
                return null;
            }
            try
            {
                request.Sending?.Invoke();
                return await connection.SendAsync(request, cancel);
            }
            catch (UpstreamException e) when (e.Sent == SentState.NothingSent
                && e.Kind is FailureKind.Closed or FailureKind.GoAway or FailureKind.Limit
                && attempt < MaxUnused)
            {
                // It closed between being reserved and being used.
            }
        }
    }

    /// <summary>Closes the connections that have been idle too long.</summary>
    public void Trim()
    {
        var now = Environment.TickCount64;
        List<IUpstreamConnection>? expired = null;
        lock (_lock)
        {
            foreach (var connection in _free)
            {
                var limit = Math.Min(connection.MaxIdle ?? long.MaxValue, (long)_options.IdleTimeout.TotalMilliseconds);
                if (connection.IdleSince is { } since && now - since >= limit)
                {
                    (expired ??= []).Add(connection);
                }
            }
        }
        expired?.ForEach(static connection => connection.Retire());
    }

    /// <summary>Removes the pool when it has no connections and was not used for this long.</summary>
    public bool TryRemove(TimeSpan unused)
    {
        lock (_lock)
        {
            if (_open.Count > 0
                || _dialing > 0
                || _waiters.Count > 0
                || Environment.TickCount64 - _lastUsed < unused.TotalMilliseconds)
            {
                return false;
            }
            _isRemoved = true;
        }
        _budget.Remove(this);
        return true;
    }

    /// <summary>Stops accepting requests; connections close when their current requests have ended.</summary>
    public void Retire()
    {
        IUpstreamConnection[] connections;
        lock (_lock)
        {
            _isRemoved = true;
            connections = [.. _open.Keys];
        }
        _budget.Remove(this);
        foreach (var connection in connections)
        {
            connection.Retire();
        }
    }

    /// <summary>Counts the current connections and requests, for metrics.</summary>
    public PoolCounts Count()
    {
        lock (_lock)
        {
            int idle = 0, streams = 0;
            foreach (var connection in _open.Keys)
            {
                streams += connection.ActiveStreams;
                idle += connection.IdleSince is null ? 0 : 1;
            }
            return new PoolCounts(_open.Count, idle, streams, _waiters.Count);
        }
    }

    void IConnectionOwner.Available(IUpstreamConnection connection)
    {
        bool isRemoved;
        lock (_lock)
        {
            isRemoved = _isRemoved;
            // A connection that is being added is not in it yet.
            if (_open.ContainsKey(connection))
            {
                MakeAvailable(connection);
            }
        }
        if (isRemoved)
        {
            connection.Retire();
        }
    }

    void IConnectionOwner.Retired(IUpstreamConnection connection)
    {
        lock (_lock)
        {
            _free.Remove(connection);
            if (_open.TryGetValue(connection, out var open))
            {
                open.IsRetired = true;
                OpenForWaiters();
            }
            else
            {
                // Another thread may have already reported that it has closed.
                _early.TryAdd(connection, false);
            }
        }
    }

    void IConnectionOwner.Closed(IUpstreamConnection connection)
    {
        OpenConnection? open;
        lock (_lock)
        {
            if (!_open.Remove(connection, out open))
            {
                _early[connection] = true;
            }
        }
        if (open is not null)
        {
            Released(open.Observer, opensAnother: true);
        }
    }

    /// <summary>The connection that has been idle longest.</summary>
    internal IUpstreamConnection? OldestIdle()
    {
        lock (_lock)
        {
            IUpstreamConnection? oldest = null;
            foreach (var connection in _free)
            {
                if (connection.IdleSince is { } since && (oldest is null || since < oldest.IdleSince))
                {
                    oldest = connection;
                }
            }
            return oldest;
        }
    }

    private ValueTask<IUpstreamConnection?> RentAsync(ConnectionObserver observer, CancellationToken cancel)
    {
        Waiter waiter;
        lock (_lock)
        {
            if (_isRemoved)
            {
                return new((IUpstreamConnection?)null);
            }
            _lastUsed = Environment.TickCount64;
            if (_waiters.Count == 0 && TryTakeFree(EventLoop.Current) is { } connection)
            {
                return new(connection);
            }
            if (_waiters.Count >= _options.MaxWaiting)
            {
                return ValueTask.FromException<IUpstreamConnection?>(
                    Limit("too many requests wait for a connection"));
            }
            waiter = new Waiter(this, observer);
            _waiters.AddLast(waiter.Node);
            OpenForWaiters();
        }
        return WaitAsync(waiter, _options.MaxWait, cancel);
    }

    private static async ValueTask<IUpstreamConnection?> WaitAsync(
        Waiter waiter, TimeSpan limit, CancellationToken cancel)
    {
        using var waiting = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        waiting.CancelAfter(limit);
        await using var registration = waiting.Token.UnsafeRegister(
            static (waiter, cancel) => ((Waiter)waiter!).Cancel(cancel), waiter);
        try
        {
            return await waiter.Task;
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            // An endpoint that allows no streams would otherwise keep a call without a deadline waiting forever.
            throw new UpstreamException(
                FailureKind.Waited, SentState.NothingSent, "no connection to the endpoint took the request in time");
        }
    }

    /// <summary>Call it under the lock.</summary>
    /// <param name="near">The loop that should serve the connection; null when that does not matter.</param>
    private IUpstreamConnection? TryTakeFree(EventLoop? near)
    {
        // An exchange on a single loop needs no other thread.
        for (var i = _free.Count - 1; near is not null && i >= Math.Max(0, _free.Count - MaxLookedAt); i--)
        {
            if (_free[i].Loop == near && TryTake(i) is { } connection)
            {
                return connection;
            }
        }
        while (_free.Count > 0)
        {
            if (TryTake(_free.Count - 1) is { } connection)
            {
                return connection;
            }
        }
        return null;
    }

    /// <summary>
    /// Takes a place on a connection, and removes it from the list if it has no more. Call it under the lock.
    /// </summary>
    private IUpstreamConnection? TryTake(int index)
    {
        var connection = _free[index];
        var isReserved = connection.TryReserve();
        if (!isReserved || connection.FreeStreams == 0)
        {
            _free.RemoveAt(index);
        }
        return isReserved ? connection : null;
    }

    /// <summary>Call it under the lock.</summary>
    private void MakeAvailable(IUpstreamConnection connection)
    {
        _free.Add(connection);
        while (_waiters.First is { } first && TryTakeFree(near: null) is { } taken)
        {
            _waiters.RemoveFirst();
            // Nothing else completes it: it is canceled only while it is in the list.
            first.Value.SetResult(taken);
        }
    }

    /// <summary>Opens as many connections as the waiting requests need. Call it under the lock.</summary>
    private void OpenForWaiters()
    {
        long waiting = _waiters.Count;
        var needed = _streams > 0 ? (waiting + _streams - 1) / _streams
            : waiting > 0 && _open.Values.All(static open => open.IsRetired) ? 1
            : 0;
        for (var node = _waiters.First; node is not null && _dialing < needed; node = node.Next)
        {
            if (_open.Count + _dialing >= _options.MaxConnections)
            {
                return;
            }
            _dialing++;
            _ = OpenForWaiterAsync(node.Value.Observer, node.Value.Near);
        }
    }

    private async Task OpenForWaiterAsync(ConnectionObserver observer, EventLoop? near)
    {
        // Not under the caller's lock.
        await Task.Yield();
        try
        {
            await OpenAsync(observer, near, isReserved: false);
        }
        catch (UpstreamException e)
        {
            Waiter[] failed;
            lock (_lock)
            {
                var streams = Math.Max(1, _streams);
                var isLimit = e.Kind == FailureKind.Limit;
                // The requests that it was for. If only the limit is reached, they can wait for the open connections.
                var count = !isLimit ? Math.Clamp(_waiters.Count - (long)_dialing * streams, 0, streams)
                    : _open.Count + _dialing > 0 ? 0
                    : _waiters.Count;
                failed = [.. _waiters.Take((int)count)];
                foreach (var waiter in failed)
                {
                    _waiters.Remove(waiter.Node);
                }
                if (!isLimit)
                {
                    OpenForWaiters();
                }
            }
            foreach (var waiter in failed)
            {
                waiter.SetException(e);
            }
        }
    }

    private async Task<IUpstreamConnection?> OpenOneAsync(ConnectionObserver observer)
    {
        lock (_lock)
        {
            if (_isRemoved)
            {
                return null;
            }
            _lastUsed = Environment.TickCount64;
            if (_open.Count + _dialing >= _options.MaxConnections)
            {
                throw Limit("too many connections to the endpoint are open");
            }
            _dialing++;
        }
        var near = EventLoop.Current;
        // Opening a connection may have to read files, for which a loop must not wait.
        await Task.Yield();
        return await OpenAsync(observer, near, isReserved: true);
    }

    /// <summary>Opens a connection that _dialing already counts.</summary>
    private async Task<IUpstreamConnection> OpenAsync(
        ConnectionObserver observer, EventLoop? near, bool isReserved)
    {
        IUpstreamConnection connection;
        if (!_budget.TryTake())
        {
            lock (_lock)
            {
                _dialing--;
            }
            throw Limit("too many connections to backends are open");
        }
        try
        {
            connection = await _opener.OpenAsync(this, observer, _options.ConnectTimeout, near);
        }
        catch
        {
            lock (_lock)
            {
                _dialing--;
            }
            _budget.Return();
            throw;
        }
        var isOpen = !isReserved || connection.TryReserve();
        bool isRemoved, isClosed, isEarly;
        lock (_lock)
        {
            _dialing--;
            isRemoved = _isRemoved;
            isEarly = _early.Remove(connection, out isClosed);
            if (!isClosed)
            {
                _open.Add(connection, new OpenConnection(observer) { IsRetired = isEarly });
            }
            if (isEarly)
            {
                // It accepts no requests at all: treat it as if it had not been opened.
                isOpen &= isReserved;
            }
            else
            {
                _streams = connection.FreeStreams + connection.ActiveStreams;
                if (connection.FreeStreams > 0)
                {
                    MakeAvailable(connection);
                    if (connection is Http1Connection { FreeStreams: > 0 } idle)
                    {
                        // Not needed now: watch it from here on.
                        idle.ReadAhead();
                    }
                }
            }
            if (_dialing == 0)
            {
                // The entries that are left never became connections of the pool.
                _early.Clear();
            }
            if (isOpen)
            {
                OpenForWaiters();
            }
        }
        if (isClosed)
        {
            // The requests that it was opened for fail first.
            Released(observer, opensAnother: isReserved);
        }
        if (isRemoved)
        {
            connection.Retire();
        }
        return isOpen ? connection
            : throw new UpstreamException(
                FailureKind.Connect, SentState.NothingSent, "the connection was closed at once");
    }

    /// <summary>A connection has closed.</summary>
    private void Released(ConnectionObserver observer, bool opensAnother)
    {
        _budget.Return();
        observer.ConnectionClosed();
        if (opensAnother)
        {
            lock (_lock)
            {
                // There may be room for a connection that could not be opened before.
                OpenForWaiters();
            }
        }
    }

    private static UpstreamException Limit(string message) => new(FailureKind.Limit, SentState.NothingSent, message);

    private sealed class OpenConnection(ConnectionObserver observer)
    {
        public ConnectionObserver Observer { get; } = observer;

        /// <summary>Whether the connection accepts no more requests.</summary>
        public bool IsRetired { get; set; }
    }

    /// <summary>A request that waits for a place on a connection.</summary>
    private sealed class Waiter : TaskCompletionSource<IUpstreamConnection?>
    {
        private readonly UpstreamPool _pool;

        public Waiter(UpstreamPool pool, ConnectionObserver observer)
            : base(TaskCreationOptions.RunContinuationsAsynchronously)
        {
            _pool = pool;
            Observer = observer;
            Node = new LinkedListNode<Waiter>(this);
        }

        public ConnectionObserver Observer { get; }

        /// <summary>The loop of the request; null = none.</summary>
        public EventLoop? Near { get; } = EventLoop.Current;

        public LinkedListNode<Waiter> Node { get; }

        public void Cancel(CancellationToken cancel)
        {
            lock (_pool._lock)
            {
                if (Node.List is null)
                {
                    return;
                }
                _pool._waiters.Remove(Node);
            }
            SetCanceled(cancel);
        }
    }
}

/// <summary>The connections and requests of a pool at one moment.</summary>
/// <param name="Open">Connections that are open.</param>
/// <param name="Idle">Of these, those without a request.</param>
/// <param name="Streams">Requests in flight.</param>
/// <param name="Waiting">Requests that wait for a connection.</param>
public readonly record struct PoolCounts(int Open, int Idle, int Streams, int Waiting)
{
    public static PoolCounts operator +(PoolCounts left, PoolCounts right) => new(
        left.Open + right.Open,
        left.Idle + right.Idle,
        left.Streams + right.Streams,
        left.Waiting + right.Waiting);
}
