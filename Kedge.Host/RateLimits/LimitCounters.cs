namespace Kedge.Host.RateLimits;

/// <summary>
/// What the rate limits of one name have decided. The counters live as long as the process, so that they never go back;
/// there are as many as names were ever configured.
/// </summary>
internal sealed class LimitCounters(string name)
{
    private long _allowed;
    private long _refused;
    private long _shadowRefused;
    private long _overflow;

    /// <summary>The label, allocated once.</summary>
    public KeyValuePair<string, object?> Label { get; } = new("limit", name);

    /// <summary>Each decision with its count, as metrics name it.</summary>
    public IEnumerable<(string Decision, long Count)> All =>
    [
        ("allowed", Volatile.Read(ref _allowed)),
        ("refused", Volatile.Read(ref _refused)),
        ("shadow_refused", Volatile.Read(ref _shadowRefused)),
        ("overflow", Volatile.Read(ref _overflow)),
    ];

    public void Allowed() => Interlocked.Increment(ref _allowed);

    public void Refused(bool isShadow) => Interlocked.Increment(ref isShadow ? ref _shadowRefused : ref _refused);

    /// <summary>There was no room for the key of a request, which is also counted by what was decided.</summary>
    public void Overflow() => Interlocked.Increment(ref _overflow);
}
