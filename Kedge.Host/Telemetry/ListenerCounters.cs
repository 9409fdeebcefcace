using Kedge.Host.Http;

namespace Kedge.Host.Telemetry;

/// <summary>The connections of one listener.</summary>
public sealed class ListenerCounters(ListenerKind listener)
{
    private long _accepted;
    private long _closed;
    private long _aged;

    public ListenerKind Listener { get; } = listener;

    public string Name { get; } = listener.Name();

    public long Accepted => Volatile.Read(ref _accepted);

    public long Closed => Volatile.Read(ref _closed);

    /// <summary>Connections that were asked to end because of their age.</summary>
    public long Aged => Volatile.Read(ref _aged);

    public void Accept() => Interlocked.Increment(ref _accepted);

    public void Close() => Interlocked.Increment(ref _closed);

    public void Age() => Interlocked.Increment(ref _aged);
}
