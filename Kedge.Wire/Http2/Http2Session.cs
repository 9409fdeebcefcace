using Kedge.Wire.Http2.Hpack;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

/// <summary>
/// The client's side of one HTTP/2 connection (RFC 9113): bytes go in, and calls of the streams and bytes to send come
/// out. It performs no I/O, reads no clock and takes no lock; only one thread at a time may call it.
/// </summary>
/// <remarks>
/// This part opens streams and sends; the other parts receive. The memory that a hostile peer can make it hold is
/// bounded: one header block (<see cref="MaxBlock"/>), the two header compression tables, and a fixed state for each
/// stream that this side has opened. It holds no content.
/// </remarks>
internal sealed partial class Http2Session
{
    /// <summary>The last stream identifier that is used. After it, the connection accepts no more requests.</summary>
    private const int LastStreamId = int.MaxValue - 2;

    private readonly Http2Options _options;
    private readonly ConnectionObserver _observer;
    private readonly HpackEncoder _encoder;
    private readonly Dictionary<int, Http2StreamState> _streams = [];
    private readonly FloodGuard _guard = new();
    private int _nextId = 1;
    private int _grown;

    // The number of the current output buffer, and how many bytes the previous ones contained.
    private long _generation;
    private long _handedOver;

    public Http2Session(Http2Options options, ConnectionObserver observer)
    {
        _options = options;
        _observer = observer;
        _encoder = new HpackEncoder(options.HeaderTableSize, options.UseHuffman);
        _decoder = new HpackDecoder(options.HeaderTableSize);
        _fields = new HeaderBlock(options.MaxHeaderListSize);
        _connectionReceiveWindow = options.ConnectionWindow;
    }

    /// <summary>The bytes to write next. Frames are appended to it.</summary>
    public OutputBuffer Output { get; private set; } = new();

    public PeerSettings Peer { get; } = new();

    /// <summary>How many bytes of content the whole connection may send.</summary>
    public long SendWindow { get; private set; } = 65_535;

    /// <summary>Whether the peer's first SETTINGS were received.</summary>
    public bool IsReady { get; private set; }

    /// <summary>Whether the peer has sent GOAWAY: no more streams can be opened.</summary>
    public bool IsDraining { get; private set; }

    /// <summary>
    /// Why the connection has ended; null while it has not. Once set, write <see cref="Output"/> and close the
    /// connection.
    /// </summary>
    public StreamFailure? Failure { get; private set; }

    /// <summary>The number of open streams.</summary>
    public int Count => _streams.Count;

    /// <summary>How many more streams can be opened.</summary>
    public int FreeStreams =>
        IsReady && !IsDraining && Failure is null && _nextId <= LastStreamId
            ? (int)Math.Max(0, Math.Min(Peer.MaxConcurrentStreams, _options.MaxStreams) - _streams.Count)
            : 0;

    /// <summary>Whether any stream of this connection has received a response.</summary>
    public bool HasAnswered { get; private set; }

    /// <summary>
    /// Whether a window has opened since this was last set to false, so that waiting content may be sent.
    /// </summary>
    public bool HasNewWindow { get; set; }

    /// <summary>The number of frames received that were not responses to a PING.</summary>
    public long FramesReceived { get; private set; }

    /// <summary>The number of responses to PING that were received.</summary>
    public long PingsAnswered { get; private set; }

    /// <summary>
    /// How many bytes the peer makes the session hold: an incomplete header block, and both header compression tables.
    /// </summary>
    public int HeldBytes => _block.Length + _decoder.TableSize + _encoder.TableSize;

    /// <summary>Writes the client's preface, settings and window. Call it once, before anything else.</summary>
    public void Start()
    {
        Output.Append(FrameWriter.Preface);
        Span<(SettingId, uint)> settings =
        [
            (SettingId.EnablePush, 0),
            (SettingId.InitialWindowSize, (uint)_options.StreamWindow),
            (SettingId.MaxHeaderListSize, (uint)_options.MaxHeaderListSize),
            (SettingId.HeaderTableSize, (uint)_options.HeaderTableSize),
        ];
        FrameWriter.Settings(Output, settings);
        if (_options.ConnectionWindow > 65_535)
        {
            FrameWriter.WindowUpdate(Output, 0, _options.ConnectionWindow - 65_535);
        }
    }

    /// <summary>Replaces the output buffer, and returns the previous one, which must be written now.</summary>
    public OutputBuffer SwapOutput(OutputBuffer empty)
    {
        var full = Output;
        Output = empty;
        _handedOver += full.Length;
        _generation++;
        return full;
    }

    /// <summary>Discards the frames that were not handed over, because the connection takes no more.</summary>
    public void DropOutput()
    {
        Output.Clear();
        // The last frame of a stream is not there any more to be marked as its last.
        _generation++;
    }

    /// <summary>Opens a stream for a request that <see cref="RequestHead"/> has checked.</summary>
    /// <param name="isEnd">Whether the request has neither content nor trailers.</param>
    /// <returns>False when no stream can be opened; nothing was sent then.</returns>
    public bool TryOpen(Http2StreamState stream, UpstreamRequest request, bool isEnd)
    {
        if (FreeStreams == 0)
        {
            return false;
        }
        stream.Id = _nextId;
        _nextId += 2;
        stream.IsHead = request.Method == "HEAD";
        stream.IsOnReusedConnection = HasAnswered;
        stream.SendWindow = Peer.InitialWindow;
        stream.ReceiveWindow = stream.WindowSize = _options.StreamWindow;
        stream.HeadPosition = _handedOver + Output.Length;
        _streams.Add(stream.Id, stream);
        var at = BeginHeaders();
        RequestHead.Write(request, _encoder, Output);
        EndHeaders(stream, at, isEnd);
        return true;
    }

    /// <summary>Sends as much content as the windows permit, at most <paramref name="most"/> bytes in total.</summary>
    /// <param name="isEnd">Whether the request ends with this content.</param>
    /// <returns>How many bytes were sent. The request ends only when all of them were.</returns>
    public int Send(Http2StreamState stream, ReadOnlySpan<byte> content, int most, bool isEnd)
    {
        var sent = 0;
        while (sent < content.Length)
        {
            var size = Math.Min(content.Length - sent, Math.Min(most - sent, PeerSettings.LeastMaxFrameSize));
            size = (int)Math.Min(size, Math.Min(SendWindow, stream.SendWindow));
            if (size <= 0)
            {
                return sent;
            }
            SendWindow -= size;
            stream.SendWindow -= size;
            stream.LastFrame = Output.Length;
            stream.LastFrameGeneration = _generation;
            FrameWriter.Data(Output, stream.Id, content.Slice(sent, size), false);
            _guard.Sent();
            sent += size;
        }
        if (isEnd)
        {
            End(stream);
        }
        return sent;
    }

    /// <summary>Sends trailers, which end the request. <see cref="RequestHead"/> must have checked them.</summary>
    public void SendTrailers(Http2StreamState stream, FieldList trailers)
    {
        var at = BeginHeaders();
        RequestHead.WriteTrailers(trailers, _encoder, Output);
        if (Output.Length == at + FrameHeader.Size)
        {
            // None of the fields is sent over HTTP/2.
            Output.Truncate(at);
            End(stream);
            return;
        }
        EndHeaders(stream, at, true);
    }

    /// <summary>Ends a stream from this side. The session no longer calls the stream.</summary>
    public void Reset(Http2StreamState stream, Http2ErrorCode code)
    {
        if (stream.IsClosed || stream.Id == 0)
        {
            return;
        }
        FrameWriter.RstStream(Output, stream.Id, code);
        _observer.StreamReset((uint)code, byPeer: false);
        Remove(stream);
    }

    /// <summary>Reports that content of a response was read, so that the peer may send more.</summary>
    /// <param name="isWaiting">Whether the reader has read everything that has arrived.</param>
    public void Consumed(Http2StreamState stream, int count, bool isWaiting)
    {
        stream.Unacknowledged += count;
        // The rest of a response with a Content-Length usually fits into the window already.
        if (stream.IsRemoteClosed || stream.IsClosed || stream.Unacknowledged < stream.WindowSize / 2
            || (stream.ContentLeft >= 0 && stream.ContentLeft <= stream.ReceiveWindow))
        {
            return;
        }
        var increment = stream.Unacknowledged;
        var growth = Math.Min(stream.WindowSize, _options.MaxStreamWindow - stream.WindowSize);
        if (isWaiting && growth > 0 && growth <= _options.WindowBudget - _grown)
        {
            _grown += growth;
            stream.WindowSize += growth;
            increment += growth;
        }
        stream.ReceiveWindow += increment;
        stream.Unacknowledged = 0;
        FrameWriter.WindowUpdate(Output, stream.Id, increment);
    }

    /// <summary>Sends a PING.</summary>
    public void Ping() => FrameWriter.Ping(Output, isAck: false, "\0\0kedge\0"u8);

    /// <summary>
    /// Sends GOAWAY. Only for a connection without streams: some peers end open streams when they receive it.
    /// </summary>
    public void Leave()
    {
        if (Failure is null)
        {
            FrameWriter.GoAway(Output, Http2ErrorCode.NoError);
            Failure = new StreamFailure(
                FailureKind.Closed, SentState.NothingSent, "the connection was closed on this side");
        }
    }

    /// <summary>
    /// Ends the session because the connection was lost. Fails every stream whose response is incomplete.
    /// </summary>
    public void Lose(FailureKind kind, string message, Exception? cause)
    {
        Failure ??= new StreamFailure(kind, SentState.MayHaveBeenProcessed, message, Cause: cause);
        FailAll(kind, message, null, cause);
    }

    private int BeginHeaders()
    {
        var at = Output.Length;
        Output.Reserve(FrameHeader.Size);
        Output.Advance(FrameHeader.Size);
        return at;
    }

    /// <summary>
    /// Completes the frame that begins at this offset of the output, and splits it if it is too long.
    /// </summary>
    private void EndHeaders(Http2StreamState stream, int at, bool isEnd)
    {
        var length = Output.Length - at - FrameHeader.Size;
        var first = Math.Min(length, PeerSettings.LeastMaxFrameSize);
        var flags = (byte)((isEnd ? FrameFlags.EndStream : 0) | (first == length ? FrameFlags.EndHeaders : 0));
        new FrameHeader(first, FrameType.Headers, flags, stream.Id).Write(Output.Written[at..]);
        if (first < length)
        {
            Split(stream.Id, at + FrameHeader.Size + first, length - first);
        }
        _guard.Sent();
        stream.LastFrame = at;
        stream.LastFrameGeneration = _generation;
        if (isEnd)
        {
            CloseLocal(stream);
        }
    }

    /// <summary>Puts the header of a CONTINUATION frame before each piece of the rest of a block.</summary>
    private void Split(int streamId, int at, int length)
    {
        var rest = Output.Written.Slice(at, length).ToArray();
        Output.Truncate(at);
        for (var from = 0; from < length; from += PeerSettings.LeastMaxFrameSize)
        {
            var size = Math.Min(length - from, PeerSettings.LeastMaxFrameSize);
            var flags = from + size == length ? FrameFlags.EndHeaders : FrameFlags.None;
            new FrameHeader(size, FrameType.Continuation, flags, streamId).Write(Output.Reserve(FrameHeader.Size));
            Output.Advance(FrameHeader.Size);
            Output.Append(rest.AsSpan(from, size));
        }
    }

    /// <summary>
    /// Ends a request: with its last frame if that has not been written yet, otherwise with an empty one.
    /// </summary>
    private void End(Http2StreamState stream)
    {
        if (stream.LastFrameGeneration == _generation)
        {
            Output.Written[stream.LastFrame + 4] |= FrameFlags.EndStream;
        }
        else
        {
            FrameWriter.Data(Output, stream.Id, default, true);
        }
        CloseLocal(stream);
    }

    private void CloseLocal(Http2StreamState stream)
    {
        stream.IsLocalClosed = true;
        if (stream.IsRemoteClosed)
        {
            Remove(stream);
        }
    }

    private void Remove(Http2StreamState stream)
    {
        if (_streams.Remove(stream.Id))
        {
            stream.IsClosed = true;
            _grown -= stream.WindowSize - _options.StreamWindow;
        }
    }

    private void FailAll(FailureKind kind, string message, Http2ErrorCode? code, Exception? cause)
    {
        foreach (var stream in _streams.Values.ToArray())
        {
            Remove(stream);
            if (stream.IsRemoteClosed)
            {
                stream.OnRequestUnwanted();
            }
            else
            {
                var sent = stream.HeadPosition >= _handedOver ? SentState.NothingSent : SentState.MayHaveBeenProcessed;
                stream.OnFailed(new StreamFailure(kind, sent, message, code, cause));
            }
        }
    }
}
