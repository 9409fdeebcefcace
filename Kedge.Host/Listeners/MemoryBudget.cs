using System.Net;
using Microsoft.AspNetCore.Connections;

namespace Kedge.Host.Listeners;

/// <summary>
/// Bounds the memory held for all callers together: responses that they do not read, requests that backends do not
/// read, and a share for each request in flight. Each of these has a bound per stream or connection, too, but many
/// connections with many streams would still fill the memory. Beyond the budget, closes the connections that hold the
/// most.
/// </summary>
/// <param name="limit">The budget, in bytes.</param>
/// <param name="connections">The open connections.</param>
/// <param name="logger">Where closed connections are reported.</param>
public sealed class MemoryBudget(long limit, Func<IReadOnlyList<IHolder>> connections, ILogger logger)
{
    /// <summary>What a connection may hold without being closed, in bytes.</summary>
    public const long Share = 128 * 1024;

    // Other threads release the memory of closed connections.
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    private readonly LogThrottle _log = new();
    private long _held;
    private long _closed;
    private int _isEnforcing;

    /// <summary>The budget, in bytes.</summary>
    public long Limit => limit;

    /// <summary>What is held now, in bytes.</summary>
    public long Held => Volatile.Read(ref _held);

    /// <summary>How many connections were closed because they held the most.</summary>
    public long Closed => Volatile.Read(ref _closed);

    /// <summary>A quarter of the memory that the process may use, in bytes.</summary>
    public static long OfMachine() => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4;

    /// <summary>Adds to the bytes held; negative = releases them. Any thread may call it, even under locks.</summary>
    internal void Add(long bytes)
    {
        if (Interlocked.Add(ref _held, bytes) > limit && bytes > 0 && Interlocked.Exchange(ref _isEnforcing, 1) == 0)
        {
            ThreadPool.UnsafeQueueUserWorkItem(
                static budget => _ = budget.EnforceAsync(), this, preferLocal: false);
        }
    }

    private async Task EnforceAsync()
    {
        try
        {
            while (Held > limit)
            {
                CloseLargest();
                await Task.Delay(Pause);
            }
        }
        finally
        {
            Volatile.Write(ref _isEnforcing, 0);
        }
    }

    /// <summary>Closes connections until the others hold no more than seven eighths of the budget.</summary>
    private void CloseLargest()
    {
        var open = connections().Where(connection => !connection.IsEvicted)
            .Select(connection => (Connection: connection, connection.Held))
            .OrderByDescending(one => one.Held)
            .ToList();
        var sum = open.Sum(one => one.Held);
        foreach (var (connection, held) in open)
        {
            if (sum <= limit - (limit / 8) || held <= Share)
            {
                return;
            }
            sum -= held;
            Interlocked.Increment(ref _closed);
            if (_log.TryTake(out var unlogged))
            {
                logger.LogWarning(
                    "connections hold more than {Limit} bytes of memory together; closed that of {Address}, which held "
                    + "{Held}, and {Unlogged} before it that were not reported",
                    limit,
                    connection.Address,
                    held,
                    unlogged);
            }
            connection.Evict(new ConnectionAbortedException("it holds the most memory of all, which is short"));
        }
    }
}

/// <summary>A connection that holds memory.</summary>
public interface IHolder
{
    /// <summary>How much it holds, in bytes.</summary>
    long Held { get; }

    /// <summary>Whether it is being closed.</summary>
    bool IsEvicted { get; }

    /// <summary>Its peer.</summary>
    EndPoint? Address { get; }

    /// <summary>Closes it.</summary>
    void Evict(ConnectionAbortedException reason);
}
