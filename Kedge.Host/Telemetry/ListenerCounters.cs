using Kedge.Host.Http;

namespace Kedge.Host.Telemetry;

/// <summary>The connections of one listener.</summary>
public sealed class ListenerCounters(ListenerKind listener)
{
    private long _accepted;
    private long _closed;

    public ListenerKind Listener { get; } = listener;

    public string Name { get; } = listener.Name();

    public long Accepted => Volatile.Read(ref _accepted);

    public long Closed => Volatile.Read(ref _closed);

    public void Accept() => Interlocked.Increment(ref _accepted);

    public void Close() => Interlocked.Increment(ref _closed);
}
