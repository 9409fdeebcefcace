using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

/// <summary>
/// A stream as <see cref="Http2Session"/> sees it. The session keeps the fields and calls the methods, while it
/// receives or sends; none of them may call the session.
/// </summary>
internal abstract class Http2StreamState
{
    /// <summary>0 until the stream is open.</summary>
    public int Id { get; internal set; }

    /// <summary>Whether a response can have no content whatever its fields say: the request is a HEAD.</summary>
    public bool IsHead { get; internal set; }

    /// <summary>Whether the request was sent to its end, or need not be sent any further.</summary>
    public bool IsLocalClosed { get; internal set; }

    /// <summary>Whether the response was received to its end.</summary>
    public bool IsRemoteClosed { get; internal set; }

    /// <summary>Whether the session has let go of the stream.</summary>
    public bool IsClosed { get; internal set; }

    /// <summary>Whether the head of the final response was received.</summary>
    public bool HasHead { get; internal set; }

    /// <summary>Whether any part of a response was received.</summary>
    public bool HasAnyResponse { get; internal set; }

    /// <summary>Whether an earlier stream of the connection had been answered when this one was opened.</summary>
    public bool IsOnReusedConnection { get; internal set; }

    // How many bytes of content may be sent, and may still come.
    internal long SendWindow;
    internal int ReceiveWindow;

    // The size of the window that is given, and what was read of it since the last WINDOW_UPDATE.
    internal int WindowSize;
    internal int Unacknowledged;

    // What is still to come of the Content-Length; -1 = unknown.
    internal long ContentLeft = -1;

    // Whether content is dropped, as the response can have none.
    internal bool DropsContent;

    internal int Informational;

    // How much the session had written before the HEADERS of this stream.
    internal long HeadPosition;

    // The last HEADERS or DATA frame, which can still be made the last one of the stream while it is not written.
    internal int LastFrame;
    internal long LastFrameGeneration = -1;

    /// <summary>An informational response came (RFC 9110, section 15.2).</summary>
    protected internal abstract void OnInformational(int status, FieldList fields);

    /// <summary>The head of the final response came.</summary>
    /// <param name="contentLength">Null when it is unknown, or does not apply.</param>
    /// <param name="isEnd">Whether the response has ended with it.</param>
    protected internal abstract void OnHead(int status, FieldList fields, long? contentLength, bool isEnd);

    /// <summary>Content came. Whoever reads it says so by <see cref="Http2Session.Consumed"/>.</summary>
    protected internal abstract void OnData(ReadOnlySpan<byte> content);

    /// <summary>The response has ended after its content.</summary>
    protected internal abstract void OnEnd(FieldList? trailers);

    /// <summary>The response is complete, and the peer takes no more of the request.</summary>
    protected internal abstract void OnRequestUnwanted();

    /// <summary>The stream has failed and is closed.</summary>
    protected internal abstract void OnFailed(StreamFailure failure);
}
