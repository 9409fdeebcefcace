using Kedge.Wire.Sockets;

namespace Kedge.Wire.Upstream;

/// <summary>
/// A request to an endpoint. It can be sent more than once, one attempt after the other, as long as its content can.
/// </summary>
public sealed class UpstreamRequest
{
    public required string Method { get; init; }

    /// <summary>Path and query, exactly as sent.</summary>
    public required string Target { get; init; }

    /// <summary><c>http</c> or <c>https</c>; sent over HTTP/2 only.</summary>
    public required string Scheme { get; init; }

    /// <summary>Sent as Host or <c>:authority</c>.</summary>
    public required string Authority { get; set; }

    /// <summary>
    /// The header fields, without Host, Content-Length, Transfer-Encoding and those of the hop (RFC 9110, 7.6.1); but
    /// with Connection and Upgrade when <see cref="Upgrade"/> is set.
    /// </summary>
    public FieldList Fields { get; } = new();

    /// <summary>
    /// The body; null when there is none. It writes to the stream that it is given, which collects small writes until
    /// it is flushed. When it fails, the attempt is aborted.
    /// </summary>
    public HttpContent? Content { get; set; }

    /// <summary>
    /// The Content-Length; null = unknown. Without content, 0 sends the field and null leaves it to the method.
    /// </summary>
    public long? ContentLength { get; set; }

    /// <summary>
    /// Whether the fields contain <c>Expect: 100-continue</c>: the content is then not asked for before the endpoint
    /// says so, or says nothing for a second (RFC 9110, 10.1.1).
    /// </summary>
    public bool ExpectsContinue { get; init; }

    /// <summary>The protocol that the connection may be upgraded to by a 101 (HTTP/1.1 only); null = none.</summary>
    public string? Upgrade { get; set; }

    /// <summary>Passed to the callbacks, so that these can be static.</summary>
    public object? State { get; init; }

    /// <summary>The trailers to send after the content, asked for when that has been sent.</summary>
    public Func<object?, FieldList?>? Trailers { get; init; }

    /// <summary>Charged for what has come of the response and is not read; null = nobody is.</summary>
    public IMemoryAccount? Account { get; init; }

    /// <summary>
    /// Called for each informational response but 100 and 101, and awaited before the next one is read.
    /// </summary>
    public Func<object?, int, FieldList, ValueTask>? OnInformational { get; init; }

    /// <summary>
    /// Called, by any thread, when the endpoint takes no more of the content: it has responded and stopped reading, or
    /// closed the connection. Writes after that are discarded without an error, so copying may end quietly.
    /// </summary>
    public Action<object?>? ContentUnwanted { get; set; }

    /// <summary>Called when a connection has been found, just before the request is sent on it.</summary>
    public Action? Sending { get; set; }

    /// <summary>
    /// The same request, with the same fields, for an attempt that reports to somebody else. An earlier attempt may
    /// still report.
    /// </summary>
    public UpstreamRequest ForNextAttempt() => (UpstreamRequest)MemberwiseClone();
}
