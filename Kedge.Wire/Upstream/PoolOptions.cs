namespace Kedge.Wire.Upstream;

/// <summary>Limits of connection pools.</summary>
public sealed record PoolOptions
{
    /// <summary>The limit for connections to one endpoint with the same settings; at least 1.</summary>
    public int MaxConnections { get; init; } = 1024;

    /// <summary>The limit for requests that wait for a connection to one endpoint; further ones fail at once.</summary>
    public int MaxWaiting { get; init; } = 8192;

    /// <summary>
    /// How long a request waits for a place on a connection before it fails. <see cref="Timeout.InfiniteTimeSpan"/> =
    /// no limit.
    /// </summary>
    public TimeSpan MaxWait { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>The time limit for opening a connection, including all handshakes.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long an idle connection is kept.</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(90);
}
