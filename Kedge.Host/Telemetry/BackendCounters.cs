using Kedge.Domain;

namespace Kedge.Host.Telemetry;

/// <summary>
/// The counters of one backend and protocol, looked up before requests need them. They live as long as the process, so
/// that they never decrease; there is one for each backend name that was ever configured.
/// </summary>
public sealed class BackendCounters(Protocol protocol, string name)
{
    private int _inFlight;

    public string Name { get; } = name;

    public Protocol Protocol { get; } = protocol;

    /// <summary>Completed requests by duration, for pages.</summary>
    public TrafficCounters Traffic { get; } = new();

    public CodeCounts Codes { get; } = new(protocol);

    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>The labels, allocated once.</summary>
    public KeyValuePair<string, object?>[] Labels { get; } =
        [new("protocol", protocol.Section), new("backend_name", name)];

    public void Started() => Interlocked.Increment(ref _inFlight);

    public void Ended() => Interlocked.Decrement(ref _inFlight);
}
