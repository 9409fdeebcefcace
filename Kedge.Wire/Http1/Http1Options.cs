namespace Kedge.Wire.Http1;

/// <summary>Limits of HTTP/1.1 connections.</summary>
public sealed record Http1Options
{
    /// <summary>The limit for the head of a response, and for its trailer section, in bytes.</summary>
    public int MaxHeadBytes { get; init; } = 64 * 1024;

    /// <summary>How long a request that expects a 100 waits for it before it sends its content.</summary>
    public TimeSpan ContinueTimeout { get; init; } = TimeSpan.FromSeconds(1);
}
