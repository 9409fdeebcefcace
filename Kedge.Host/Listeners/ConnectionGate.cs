using System.Diagnostics.CodeAnalysis;
using Microsoft.AspNetCore.Connections;

namespace Kedge.Host.Listeners;

/// <summary>
/// Bounds the number of open connections by what the limit on open files allows. At the bound, a new connection
/// replaces idle ones: first those whose peers have sent nothing, then those whose first request has been incomplete
/// for some time, then those between requests; in each class, the longest idle first. While every connection is in use,
/// accepting pauses.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "A semaphore holds no resource unless its wait handle is used.")]
public sealed class ConnectionGate
{
    // How long to spare a connection after it was opened or used, and while its peer sends its first request.
    private static readonly TimeSpan LeastIdle = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan FirstRequest = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);
    // How long accepting must succeed before the next problem is reported again.
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(10);

    private readonly int _limit;
    private readonly ILogger _logger;
    private readonly Lock _lock = new();
    private readonly HashSet<GatedConnection> _open = [];
    private readonly SemaphoreSlim _closed = new(0);
    private long _evicted;
    private long _troubled = long.MinValue;

    /// <param name="limit">At least 1.</param>
    /// <param name="logger">Where pauses are reported.</param>
    /// <param name="memory">The memory that the connections may hold together, in bytes.</param>
    public ConnectionGate(int limit, ILogger logger, long memory = long.MaxValue)
    {
        _limit = limit;
        _logger = logger;
        Memory = new MemoryBudget(memory, All, logger);
    }

    /// <summary>The maximum number of connections.</summary>
    public int Limit => _limit;

    /// <summary>The memory that the connections hold.</summary>
    public MemoryBudget Memory { get; }

    /// <summary>The number of open connections.</summary>
    public int Open
    {
        get
        {
            lock (_lock)
            {
                return _open.Count;
            }
        }
    }

    /// <summary>How many idle connections were closed to make room.</summary>
    public long Evicted => Volatile.Read(ref _evicted);

    /// <summary>Waits until there is room for one more connection, and makes room if it can.</summary>
    internal async ValueTask WaitForRoomAsync(CancellationToken cancel)
    {
        while (Open >= _limit)
        {
            Report($"all {_limit} connections that the limit on open files allows are in use");
            MakeRoom();
            // The server closes connections on other threads.
            await _closed.WaitAsync(Pause, cancel);
        }
    }

    /// <summary>After accepting failed, makes room, and waits, because it would fail again at once.</summary>
    internal async ValueTask RecoverAsync(Exception failure, CancellationToken cancel)
    {
        Report($"a connection cannot be accepted: {failure.Message}");
        MakeRoom();
        await Task.Delay(Pause, cancel);
    }

    internal GatedConnection Admit(ConnectionContext connection)
    {
        var admitted = new GatedConnection(connection, this);
        lock (_lock)
        {
            _open.Add(admitted);
        }
        return admitted;
    }

    internal void Closed(GatedConnection connection)
    {
        lock (_lock)
        {
            _open.Remove(connection);
        }
        // Each listener has at most one waiter. An extra signal only makes it check once more.
        if (_closed.CurrentCount == 0)
        {
            _closed.Release();
        }
    }

    private IReadOnlyList<IHolder> All()
    {
        lock (_lock)
        {
            return [.. _open];
        }
    }

    private void MakeRoom()
    {
        var now = Environment.TickCount64;
        GatedConnection[] idle;
        lock (_lock)
        {
            idle = [.. _open.Where(connection => connection.IdleFor(now) >= LeastIdle.TotalMilliseconds)];
        }
        // Several at a time, to avoid a scan of all idle connections for each new one.
        foreach (var connection in idle
            .Where(connection => connection.HasServed || !connection.HasReceived
                || connection.IdleFor(now) >= FirstRequest.TotalMilliseconds)
            .OrderBy(connection => connection.HasReceived)
            .ThenBy(connection => connection.HasServed)
            .ThenByDescending(connection => connection.IdleFor(now))
            .Take(Math.Max(1, _limit / 64)))
        {
            Interlocked.Increment(ref _evicted);
            connection.Abort(new ConnectionAbortedException("idle, and its place is needed"));
        }
    }

    private void Report(string problem)
    {
        var now = Environment.TickCount64;
        var last = Interlocked.Exchange(ref _troubled, now);
        if (last == long.MinValue || now - last > Quiet.TotalMilliseconds)
        {
            _logger.LogWarning(
                "accepting connections is delayed: {Problem}; idle ones are closed to make room", problem);
        }
    }
}
