namespace Kedge.Host.Kubernetes;

/// <summary>
/// The state of a watch, for metrics and the status page. A time is null until the event has happened.
/// </summary>
public sealed class WatchHealth(string name)
{
    private long _lastEvent;
    private long _lastList;
    private long _events;
    private long _lists;
    private long _restarts;
    private string? _error;

    /// <summary>What is watched, such as <c>endpoint slices</c>.</summary>
    public string Name => name;

    /// <summary>When the API server last sent an event, bookmarks included.</summary>
    public DateTimeOffset? LastEvent => Time(ref _lastEvent);

    /// <summary>When the last complete list arrived.</summary>
    public DateTimeOffset? LastList => Time(ref _lastList);

    public long Events => Volatile.Read(ref _events);

    public long Lists => Volatile.Read(ref _lists);

    /// <summary>How often the watch was restarted, for any reason, an orderly end included.</summary>
    public long Restarts => Volatile.Read(ref _restarts);

    /// <summary>The current error; null while the watch is up.</summary>
    public string? Error => Volatile.Read(ref _error);

    /// <summary>Whether a complete list has ever arrived.</summary>
    public bool IsSynced => LastList is not null;

    internal void NoteEvent()
    {
        Volatile.Write(ref _lastEvent, DateTimeOffset.UtcNow.UtcTicks);
        Interlocked.Increment(ref _events);
    }

    internal void NoteList()
    {
        Volatile.Write(ref _lastList, DateTimeOffset.UtcNow.UtcTicks);
        Interlocked.Increment(ref _lists);
    }

    internal void NoteRestart() => Interlocked.Increment(ref _restarts);

    internal void MarkUp() => Volatile.Write(ref _error, null);

    internal void MarkDown(string error) => Volatile.Write(ref _error, error);

    private static DateTimeOffset? Time(ref long ticks) =>
        Volatile.Read(ref ticks) is var value and not 0 ? new DateTimeOffset(value, TimeSpan.Zero) : null;
}
