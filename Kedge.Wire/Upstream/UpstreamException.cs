namespace Kedge.Wire.Upstream;

/// <summary>What an endpoint may have done with a request that failed.</summary>
public enum SentState
{
    /// <summary>No byte of it was sent.</summary>
    NothingSent,

    /// <summary>Some of it may have been received.</summary>
    MayHaveBeenProcessed,

    /// <summary>
    /// The endpoint said that it did not process it: REFUSED_STREAM, or a stream beyond the last one of a GOAWAY
    /// (RFC 9113, 8.7).
    /// </summary>
    CertainlyNotProcessed,
}

/// <summary>Why an attempt failed.</summary>
public enum FailureKind
{
    /// <summary>No connection could be made, including its TLS handshake and HTTP/2 settings.</summary>
    Connect,

    /// <summary>The limit for connections or for waiting requests is reached.</summary>
    Limit,

    /// <summary>No connection accepted the request in time.</summary>
    Waited,

    /// <summary>
    /// The request cannot be sent as it is: it contains invalid characters, or its header section is too large.
    /// </summary>
    InvalidRequest,

    /// <summary>The connection was closed or reset.</summary>
    Closed,

    /// <summary>The endpoint reset the stream; <see cref="UpstreamException.Http2ErrorCode"/> says why.</summary>
    StreamReset,

    /// <summary>The endpoint ended the HTTP/2 connection; <see cref="UpstreamException.Http2ErrorCode"/> says why.
    /// </summary>
    GoAway,

    /// <summary>The response is not HTTP, or breaks a rule of its version.</summary>
    MalformedResponse,

    /// <summary>The header or trailer section of the response exceeds the limit.</summary>
    HeadTooLarge,

    /// <summary>The content of the request failed, so the attempt was aborted.</summary>
    ContentFailed,
}

/// <summary>
/// An attempt to send a request, or to read its response, failed. The properties are the facts that decide whether the
/// request may be sent again.
/// </summary>
public sealed class UpstreamException : IOException
{
    public UpstreamException(FailureKind kind, SentState sent, string message, Exception? cause = null)
        : base(message, cause)
    {
        Kind = kind;
        Sent = sent;
    }

    public FailureKind Kind { get; }

    public SentState Sent { get; }

    /// <summary>
    /// Whether the connection had carried another request before, so the endpoint may have closed it as idle.
    /// </summary>
    public bool ConnectionWasReused { get; init; }

    /// <summary>Whether no byte of the response had been received.</summary>
    public bool BeforeAnyResponseByte { get; init; }

    /// <summary>Of RST_STREAM or GOAWAY (RFC 9113, 7); null when there was none.</summary>
    public long? Http2ErrorCode { get; init; }
}
