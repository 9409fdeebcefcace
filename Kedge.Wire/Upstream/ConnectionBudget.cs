namespace Kedge.Wire.Upstream;

/// <summary>
/// Limits the connections of all pools together. When the budget is spent, the connection that has been idle longest
/// makes room.
/// </summary>
/// <param name="max">At least 1.</param>
public sealed class ConnectionBudget(int max)
{
    private readonly Lock _lock = new();
    private readonly HashSet<UpstreamPool> _pools = [];
    private int _count;

    public int Max { get; } = max;

    /// <summary>Connections that are open or being opened.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Takes a place for a connection.</summary>
    public bool TryTake()
    {
        // Closing an idle connection gives its place back before this tries again.
        for (var attempt = 0; attempt < 3; attempt++)
        {
            if (Interlocked.Increment(ref _count) <= Max)
            {
                return true;
            }
            Interlocked.Decrement(ref _count);
            if (!CloseIdle())
            {
                return false;
            }
        }
        return false;
    }

    public void Return() => Interlocked.Decrement(ref _count);

    internal void Add(UpstreamPool pool)
    {
        lock (_lock)
        {
            _pools.Add(pool);
        }
    }

    internal void Remove(UpstreamPool pool)
    {
        lock (_lock)
        {
            _pools.Remove(pool);
        }
    }

    /// <summary>Closes the connection that has been idle longest.</summary>
    private bool CloseIdle()
    {
        UpstreamPool[] pools;
        lock (_lock)
        {
            pools = [.. _pools];
        }
        IUpstreamConnection? oldest = null;
        foreach (var pool in pools)
        {
            if (pool.OldestIdle() is { } idle && (oldest is null || idle.IdleSince < oldest.IdleSince))
            {
                oldest = idle;
            }
        }
        oldest?.Retire();
        return oldest is not null;
    }
}
