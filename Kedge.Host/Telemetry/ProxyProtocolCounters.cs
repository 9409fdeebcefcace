namespace Kedge.Host.Telemetry;

/// <summary>The result of looking for a PROXY header on a connection.</summary>
public enum ProxyProtocolResult
{
    /// <summary>It began with a header of version 1.</summary>
    V1,

    /// <summary>It began with a header of version 2.</summary>
    V2,

    /// <summary>It began with a header that keeps the addresses of the socket.</summary>
    Local,

    /// <summary>It had to begin with a header, but did not. It was closed.</summary>
    Missing,

    /// <summary>Its header was not valid, or not complete in time. It was closed.</summary>
    Malformed,

    /// <summary>It began with a header, although its peer may not send one. It was closed.</summary>
    Unexpected,
}

/// <summary>Counts connections by the result of looking for a PROXY header.</summary>
public sealed class ProxyProtocolCounters
{
    private readonly long[] _counts = new long[Enum.GetValues<ProxyProtocolResult>().Length];

    /// <summary>All counts, including zeros.</summary>
    public IEnumerable<(string Result, long Count)> All =>
        from result in Enum.GetValues<ProxyProtocolResult>()
        select (Label(result), Volatile.Read(ref _counts[(int)result]));

    /// <summary>The name in metrics and in the log.</summary>
    public static string Label(ProxyProtocolResult result) => result switch
    {
        ProxyProtocolResult.V1 => "v1",
        ProxyProtocolResult.V2 => "v2",
        ProxyProtocolResult.Local => "local",
        ProxyProtocolResult.Missing => "missing",
        ProxyProtocolResult.Malformed => "malformed",
        _ => "unexpected",
    };

    public void Count(ProxyProtocolResult result) => Interlocked.Increment(ref _counts[(int)result]);
}
