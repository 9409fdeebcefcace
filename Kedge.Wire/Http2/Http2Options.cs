namespace Kedge.Wire.Http2;

/// <summary>The behavior and the limits of HTTP/2 connections to endpoints.</summary>
public sealed record Http2Options
{
    public static readonly Http2Options Default = new();

    /// <summary>
    /// How many bytes of a response an endpoint may send before they are read: how much an unread stream can hold. At
    /// least 65,535.
    /// </summary>
    public int StreamWindow { get; init; } = 128 * 1024;

    /// <summary>
    /// The size to which the window of a stream grows while its reader reads as fast as content arrives, in bytes.
    /// </summary>
    public int MaxStreamWindow { get; init; } = 1024 * 1024;

    /// <summary>How far the windows of all streams of a connection together may grow beyond
    /// <see cref="StreamWindow"/>, in bytes.</summary>
    public int WindowBudget { get; init; } = 8 * 1024 * 1024;

    /// <summary>
    /// The window of the connection, in bytes. It is replenished as bytes arrive, so that a slow reader of one stream
    /// does not hold up the others; the windows of the streams bound the memory. At least 65,535.
    /// </summary>
    public int ConnectionWindow { get; init; } = 1024 * 1024;

    /// <summary>The limit for concurrent streams, even if the endpoint permits more.</summary>
    public int MaxStreams { get; init; } = 256;

    /// <summary>
    /// The limit for a header or trailer section of a response, in bytes: names and values, plus 32 for each field (RFC
    /// 9113, section 6.5.2).
    /// </summary>
    public int MaxHeaderListSize { get; init; } = 64 * 1024;

    /// <summary>The limit for informational responses (1xx) to one request.</summary>
    public int MaxInformational { get; init; } = 32;

    /// <summary>
    /// The size of the two dynamic tables of header compression, in bytes, 0 to 65,536. An endpoint can lower the one
    /// for requests.
    /// </summary>
    public int HeaderTableSize { get; init; } = 4096;

    /// <summary>
    /// Whether header fields of requests are Huffman-encoded. That saves a quarter of their bytes, but costs both sides
    /// time.
    /// </summary>
    public bool UseHuffman { get; init; }

    /// <summary>How many bytes may be queued for a slow connection before request bodies have to wait.</summary>
    public int MaxPendingOutput { get; init; } = 128 * 1024;

    /// <summary>How long an endpoint may take to send its SETTINGS on a new connection.</summary>
    public TimeSpan SettingsTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// A PING is sent when nothing has arrived for this long while streams are open, and something other than its
    /// response has arrived since the previous PING.
    /// </summary>
    public TimeSpan PingAfter { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// The minimum time until the next PING when only the response to the previous one has arrived. gRPC servers end
    /// connections that send such PINGs more often than every five minutes.
    /// </summary>
    public TimeSpan PingInterval { get; init; } = TimeSpan.FromSeconds(310);

    /// <summary>How long the response to a PING may take before the connection counts as lost.</summary>
    public TimeSpan PingTimeout { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>
    /// How long a request with <c>Expect: 100-continue</c> waits for a response before its content is sent anyway (RFC
    /// 9110, section 10.1.1).
    /// </summary>
    public TimeSpan ContinueTimeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The clock, for tests.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}
