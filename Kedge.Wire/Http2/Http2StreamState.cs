using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

/// <summary>
/// A stream as <see cref="Http2Session"/> sees it. The session maintains the fields, and calls the methods while it
/// receives or sends. On the session, the methods may call only <see cref="Http2Session.Consumed"/>.
/// </summary>
internal abstract class Http2StreamState
{
    /// <summary>0 until the stream is open.</summary>
    public int Id { get; internal set; }

    /// <summary>Whether the request is a HEAD, so that the response has no content, whatever its fields say.</summary>
    public bool IsHead { get; internal set; }

    /// <summary>Whether the request was sent to its end.</summary>
    public bool IsLocalClosed { get; internal set; }

    /// <summary>Whether the response was received to its end.</summary>
    public bool IsRemoteClosed { get; internal set; }

    /// <summary>Whether the session has released the stream.</summary>
    public bool IsClosed { get; internal set; }

    /// <summary>Whether the head of the final response was received.</summary>
    public bool HasHead { get; internal set; }

    /// <summary>Whether any part of a response was received.</summary>
    public bool HasAnyResponse { get; internal set; }

    /// <summary>Whether an earlier stream of the connection had received a response when this one was opened.</summary>
    public bool IsOnReusedConnection { get; internal set; }

    // How many bytes of content this side and the peer may still send.
    internal long SendWindow;
    internal int ReceiveWindow;

    // The size of the receive window, and how much of it was read since the last WINDOW_UPDATE.
    internal int WindowSize;
    internal int Unacknowledged;

    // How much of the Content-Length is still to come; -1 = unknown.
    internal long ContentLeft = -1;

    // Whether the response can have no content, so that any is dropped.
    internal bool DropsContent;

    internal int Informational;

    // How many bytes the session had written before the HEADERS of this stream.
    internal long HeadPosition;

    // The latest HEADERS or DATA frame. Until it is written, it can still be marked as the end of the stream.
    internal int LastFrame;
    internal long LastFrameGeneration = -1;

    /// <summary>An informational response arrived (RFC 9110, section 15.2).</summary>
    protected internal abstract void OnInformational(int status, FieldList fields);

    /// <summary>The head of the final response arrived.</summary>
    /// <param name="contentLength">Null when it is unknown, or does not apply.</param>
    /// <param name="isEnd">Whether the response ends with it.</param>
    protected internal abstract void OnHead(int status, FieldList fields, long? contentLength, bool isEnd);

    /// <summary>
    /// Content arrived. Once it is read, that must be reported to <see cref="Http2Session.Consumed"/>.
    /// </summary>
    protected internal abstract void OnData(ReadOnlySpan<byte> content);

    /// <summary>The response has ended after its content.</summary>
    protected internal abstract void OnEnd(FieldList? trailers);

    /// <summary>The response is complete, and the peer accepts no more of the request.</summary>
    protected internal abstract void OnRequestUnwanted();

    /// <summary>The stream has failed and is closed.</summary>
    protected internal abstract void OnFailed(StreamFailure failure);
}
