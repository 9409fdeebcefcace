namespace Kedge.Host.Kubernetes;

/// <summary>
/// The state of a watch, for metrics and the status page. A time is null until the event has happened.
/// </summary>
/// <param name="name">What is watched.</param>
/// <param name="silenceTimeout">How long the API server may send nothing before the watch is restarted.</param>
public sealed class WatchHealth(string name, TimeSpan silenceTimeout)
{
    private long _lastHeard;
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

    /// <summary>When the API server last sent anything: an event, a list, or the headers of a watch.</summary>
    public DateTimeOffset? LastHeard => Time(ref _lastHeard);

    /// <summary>
    /// Whether the API server has sent nothing for half of the time after which the watch is restarted. It sends a
    /// bookmark about once a minute, so a change may have been missed.
    /// </summary>
    public bool IsSilent => LastHeard is { } heard && DateTimeOffset.UtcNow - heard > silenceTimeout / 2;

    /// <summary>Whether it follows the cluster: it has a complete list, no error, and is not silent.</summary>
    public bool IsLive => Error is null && IsSynced && !IsSilent;

    /// <summary>When the last complete list arrived.</summary>
    public DateTimeOffset? LastList => Time(ref _lastList);

    public long Events => Volatile.Read(ref _events);

    public long Lists => Volatile.Read(ref _lists);

    /// <summary>How often the watch was restarted, for any reason, including a normal end.</summary>
    public long Restarts => Volatile.Read(ref _restarts);

    /// <summary>The current error; null while the watch is up.</summary>
    public string? Error => Volatile.Read(ref _error);

    /// <summary>Whether a complete list has ever arrived.</summary>
    public bool IsSynced => LastList is not null;

    internal void NoteHeard() => Volatile.Write(ref _lastHeard, DateTimeOffset.UtcNow.UtcTicks);

    internal void NoteEvent()
    {
        NoteHeard();
        Volatile.Write(ref _lastEvent, DateTimeOffset.UtcNow.UtcTicks);
        Interlocked.Increment(ref _events);
    }

    internal void NoteList()
    {
        NoteHeard();
        Volatile.Write(ref _lastList, DateTimeOffset.UtcNow.UtcTicks);
        Interlocked.Increment(ref _lists);
    }

    internal void NoteRestart() => Interlocked.Increment(ref _restarts);

    internal void MarkUp() => Volatile.Write(ref _error, null);

    internal void MarkDown(string error) => Volatile.Write(ref _error, error);

    private static DateTimeOffset? Time(ref long ticks) =>
        Volatile.Read(ref ticks) is var value and not 0 ? new DateTimeOffset(value, TimeSpan.Zero) : null;
}
