namespace Kedge.Host.Kubernetes;

/// <summary>How a watch is doing, for metrics and the status page. Times are null before the first.</summary>
public sealed class WatchHealth(string name)
{
    private long _lastEvent;
    private long _lastList;
    private long _events;
    private long _lists;
    private long _restarts;
    private string? _error;

    /// <summary>What is watched: <c>services</c>.</summary>
    public string Name => name;

    /// <summary>When the API server last said anything, bookmarks included.</summary>
    public DateTimeOffset? LastEvent => Time(ref _lastEvent);

    /// <summary>When the last full list was complete.</summary>
    public DateTimeOffset? LastList => Time(ref _lastList);

    public long Events => Volatile.Read(ref _events);

    public long Lists => Volatile.Read(ref _lists);

    /// <summary>How often the watch was begun again, for whatever reason, an orderly end included.</summary>
    public long Restarts => Volatile.Read(ref _restarts);

    /// <summary>What is wrong now; null when the watch stands.</summary>
    public string? Error => Volatile.Read(ref _error);

    /// <summary>Whether a full list was ever in.</summary>
    public bool IsSynced => LastList is not null;

    internal void Heard()
    {
        Volatile.Write(ref _lastEvent, DateTimeOffset.UtcNow.UtcTicks);
        Interlocked.Increment(ref _events);
    }

    internal void Listed()
    {
        Volatile.Write(ref _lastList, DateTimeOffset.UtcNow.UtcTicks);
        Interlocked.Increment(ref _lists);
    }

    internal void Restarted() => Interlocked.Increment(ref _restarts);

    internal void Stands() => Volatile.Write(ref _error, null);

    internal void Fails(string error) => Volatile.Write(ref _error, error);

    private static DateTimeOffset? Time(ref long ticks) =>
        Volatile.Read(ref ticks) is var value and not 0 ? new DateTimeOffset(value, TimeSpan.Zero) : null;
}
