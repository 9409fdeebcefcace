using System.Net;

namespace Kedge.Wire.Upstream;

/// <summary>
/// The response of an endpoint. Its fields are in <see cref="Fields"/> and <see cref="Trailers"/>, not in the
/// collections of the base class, except for a 101, whose fields are in both. Dispose of it, or read its content to the
/// end, to release the connection.
/// </summary>
public sealed class UpstreamResponse : HttpResponseMessage
{
    public UpstreamResponse(int status, FieldList fields)
        : base((HttpStatusCode)status) => Fields = fields;

    /// <summary>The header fields, all of them, as the endpoint sent them.</summary>
    public FieldList Fields { get; }

    /// <summary>The Content-Length; null when there is none, or when the response has no content to which it applies.
    /// </summary>
    public long? ContentLength { get; init; }

    /// <summary>The trailer fields; null before the content has been read to its end, and when there are none.
    /// </summary>
    public FieldList? Trailers { get; set; }

    /// <summary>
    /// Whether the content is known to be empty, so that nothing needs to be read. The trailers are then available,
    /// too.
    /// </summary>
    public bool HasNoContent { get; init; }
}
