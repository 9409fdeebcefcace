namespace Kedge.Host.Kubernetes;

/// <summary>
/// Waits between attempts: longer each time, up to 2 s, with jitter, so that an API server that comes back is found within
/// seconds and yet is not met by everyone at once.
/// </summary>
internal sealed class Backoff
{
    private static readonly TimeSpan First = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan LongestAskedFor = TimeSpan.FromSeconds(30);

    private TimeSpan _next = First;

    public void Reset() => _next = First;

    /// <param name="askedFor">What the API server asked callers to wait; null when it did not.</param>
    public Task WaitAsync(TimeSpan? askedFor, CancellationToken stop)
    {
        var wait = _next * (0.5 + Random.Shared.NextDouble() / 2);
        _next = _next * 2 < Longest ? _next * 2 : Longest;
        if (askedFor is { } asked && asked > wait)
        {
            wait = asked < LongestAskedFor ? asked : LongestAskedFor;
        }
        return Task.Delay(wait, stop);
    }
}
