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
    /// The header fields, without Host, Content-Length, Transfer-Encoding and hop-by-hop fields (RFC 9110, 7.6.1), but
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
    /// Whether the fields contain <c>Expect: 100-continue</c>: the content is then sent only once the endpoint asks for
    /// it, or has sent no response for a second (RFC 9110, 10.1.1).
    /// </summary>
    public bool ExpectsContinue { get; init; }

    /// <summary>The protocol that the connection may be upgraded to by a 101 (HTTP/1.1 only); null = none.</summary>
    public string? Upgrade { get; set; }

    /// <summary>Passed to the callbacks, so that these can be static.</summary>
    public object? State { get; init; }

    /// <summary>Returns the trailers to send after the content. Called when that has been sent.</summary>
    public Func<object?, FieldList?>? Trailers { get; init; }

    /// <summary>Charged for content of the response that was received but not read; null = none.</summary>
    public IMemoryAccount? Account { get; init; }

    /// <summary>
    /// Called for each informational response except 100 and 101, and awaited before the next one is passed on.
    /// </summary>
    public Func<object?, int, FieldList, ValueTask>? OnInformational { get; init; }

    /// <summary>
    /// Called, from any thread, when the endpoint accepts no more of the content: it has responded and stopped reading,
    /// or closed the connection. Writes after that are discarded without an error, so copying may end quietly.
    /// </summary>
    public Action<object?>? ContentUnwanted { get; set; }

    /// <summary>Called when a connection has been found, just before the request is sent on it.</summary>
    public Action? Sending { get; set; }

    /// <summary>
    /// The same request, with the same fields, for another attempt, which can have other callbacks. An earlier attempt
    /// may still call its own.
    /// </summary>
    public UpstreamRequest ForNextAttempt() => (UpstreamRequest)MemberwiseClone();
}
