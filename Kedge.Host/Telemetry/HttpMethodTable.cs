namespace Kedge.Host.Telemetry;

/// <summary>
/// The counters of HTTP requests by method. Callers choose the method, so all but the standard ones (RFC 9110, 9.3;
/// RFC 5789) are counted together.
/// </summary>
public sealed class HttpMethodTable
{
    private static readonly string[] Names =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];

    private readonly HttpMethodCounters[] _counters = [.. Names.Select(name => new HttpMethodCounters(name))];

    /// <summary>The counters of the methods that were used.</summary>
    public IEnumerable<HttpMethodCounters> All => _counters.Where(counters => counters.Started > 0);

    public HttpMethodCounters Of(string method)
    {
        var index = Array.IndexOf(Names, method, 0, Names.Length - 1);
        return _counters[index < 0 ? Names.Length - 1 : index];
    }
}

/// <summary>The counters of HTTP requests with one method.</summary>
public sealed class HttpMethodCounters(string method)
{
    private const int MaxStatus = 599;

    // By status; invalid ones count at index 0.
    private readonly long[] _completed = new long[MaxStatus + 1];
    private long _started;

    public string Method { get; } = method;

    public long Started => Volatile.Read(ref _started);

    public void Start() => Interlocked.Increment(ref _started);

    public void Complete(int status) =>
        Interlocked.Increment(ref _completed[status is >= 100 and <= MaxStatus ? status : 0]);

    /// <summary>Every status that was counted, with its count.</summary>
    public IEnumerable<(int Status, long Count)> Completed()
    {
        for (var status = 0; status < _completed.Length; status++)
        {
            if (Volatile.Read(ref _completed[status]) is > 0 and var count)
            {
                yield return (status, count);
            }
        }
    }
}
