namespace Kedge.Host.RateLimits;

/// <summary>
/// Counts what the rate limits of one name have decided. The counters live as long as the process, so that they never
/// decrease; there is one set for each name that was ever configured.
/// </summary>
internal sealed class LimitCounters(string name)
{
    private long _allowed;
    private long _refused;
    private long _shadowRefused;
    private long _overflow;

    /// <summary>The label, allocated once.</summary>
    public KeyValuePair<string, object?> Label { get; } = new("limit", name);

    /// <summary>Each decision, by its name in metrics, with its count.</summary>
    public IEnumerable<(string Decision, long Count)> All =>
    [
        ("allowed", Volatile.Read(ref _allowed)),
        ("refused", Volatile.Read(ref _refused)),
        ("shadow_refused", Volatile.Read(ref _shadowRefused)),
        ("overflow", Volatile.Read(ref _overflow)),
    ];

    public void Allowed() => Interlocked.Increment(ref _allowed);

    public void Refused(bool isShadow) => Interlocked.Increment(ref isShadow ? ref _shadowRefused : ref _refused);

    /// <summary>Counts a request for whose key there was no room. The decision about it is counted as well.</summary>
    public void Overflow() => Interlocked.Increment(ref _overflow);
}
