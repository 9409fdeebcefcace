namespace Kedge.Wire.Http2;

/// <summary>How HTTP/2 connections to endpoints behave, and what bounds them.</summary>
public sealed record Http2Options
{
    public static readonly Http2Options Default = new();

    /// <summary>
    /// How much of a response an endpoint may send before its reader takes it, in bytes: what a stream that nobody
    /// reads can hold. At least 65,535.
    /// </summary>
    public int StreamWindow { get; init; } = 128 * 1024;

    /// <summary>
    /// What the window of a stream grows to while its reader takes the content as fast as it comes, in bytes.
    /// </summary>
    public int MaxStreamWindow { get; init; } = 1024 * 1024;

    /// <summary>How far the windows of all streams of a connection together may grow beyond
    /// <see cref="StreamWindow"/>, in bytes.</summary>
    public int WindowBudget { get; init; } = 8 * 1024 * 1024;

    /// <summary>
    /// The window of the connection, in bytes. It is given back as bytes arrive, so that a slow reader of one stream
    /// does not hold up the others; the windows of the streams bound the memory. At least 65,535.
    /// </summary>
    public int ConnectionWindow { get; init; } = 1024 * 1024;

    /// <summary>The most streams at the same time, even if the endpoint permits more.</summary>
    public int MaxStreams { get; init; } = 256;

    /// <summary>
    /// The most that a header or trailer section of a response may have, in bytes: names and values, and 32 for each
    /// field (RFC 9113, section 6.5.2).
    /// </summary>
    public int MaxHeaderListSize { get; init; } = 64 * 1024;

    /// <summary>
    /// The most informational responses (1xx) to one request.
    /// </summary>
    public int MaxInformational { get; init; } = 32;

    /// <summary>
    /// The size of the two dynamic tables of header compression, in bytes, 0 to 65,536. An endpoint can lower that for
    /// requests.
    /// </summary>
    public int HeaderTableSize { get; init; } = 4096;

    /// <summary>Whether header fields of requests are shortened by the Huffman code. It saves a quarter of their bytes
    /// and costs both sides time.</summary>
    public bool UseHuffman { get; init; }

    /// <summary>
    /// How many bytes may wait for a slow connection before request bodies have to wait.
    /// </summary>
    public int MaxPendingOutput { get; init; } = 128 * 1024;

    /// <summary>How long an endpoint may take to send its SETTINGS on a new connection.</summary>
    public TimeSpan SettingsTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// A PING is sent when nothing has come for this long while streams are open, and something had come since the PING
    /// before it.
    /// </summary>
    public TimeSpan PingAfter { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// The least time to the next PING when only the response to the last one came. gRPC servers end connections that
    /// send such PINGs more often than every five minutes.
    /// </summary>
    public TimeSpan PingInterval { get; init; } = TimeSpan.FromSeconds(310);

    /// <summary>How long the response to a PING may take before the connection counts as lost.</summary>
    public TimeSpan PingTimeout { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>How long an endpoint that the request asked with <c>Expect: 100-continue</c> may say nothing before the
    /// content is sent anyway (RFC 9110, section 10.1.1).</summary>
    public TimeSpan ContinueTimeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The clock, for tests.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}
