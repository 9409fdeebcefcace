using Kedge.Wire.Http2.Hpack;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

// What the peer sends: its frames, and the header blocks in them.
internal sealed partial class Http2Session
{
    /// <summary>
    /// The most bytes that a frame can contain: its header and the largest payload that this side permits.
    /// </summary>
    public const int MaxFrame = FrameHeader.Size + PeerSettings.LeastMaxFrameSize;

    private readonly HpackDecoder _decoder;
    private readonly HeaderBlock _fields;

    // An incomplete header block, and the stream that it belongs to; 0 = there is none.
    private byte[] _block = [];
    private int _blockLength;
    private int _blockStream;
    private bool _blockEndsStream;

    private int _connectionReceiveWindow;
    private int _connectionUnacknowledged;

    /// <summary>
    /// The limit for one header block over all its frames, in bytes. A section that is larger than permitted fails only
    /// its stream, unless its block exceeds this.
    /// </summary>
    public int MaxBlock => (4 * _options.MaxHeaderListSize) + PeerSettings.LeastMaxFrameSize;

    /// <summary>Processes all complete frames that the peer has sent.</summary>
    /// <param name="bytes">Begin with a frame. Pass bytes that the last call has left again, with more.</param>
    /// <param name="now">A time in milliseconds that never goes backwards.</param>
    /// <returns>How many bytes were processed.</returns>
    public int Receive(ReadOnlySpan<byte> bytes, long now)
    {
        _guard.Refill(now);
        var taken = 0;
        try
        {
            while (Failure is null && bytes.Length - taken >= FrameHeader.Size)
            {
                var rest = bytes[taken..];
                var header = FrameHeader.Read(rest);
                if (!IsReady)
                {
                    RequireSettings(header, rest);
                }
                if (header.Length > PeerSettings.LeastMaxFrameSize)
                {
                    throw new Violation(Http2ErrorCode.FrameSizeError, "a frame is larger than permitted");
                }
                if (rest.Length < FrameHeader.Size + header.Length)
                {
                    break;
                }
                Take(header, rest.Slice(FrameHeader.Size, header.Length));
                taken += FrameHeader.Size + header.Length;
            }
        }
        catch (Violation violation)
        {
            Fail(violation);
        }
        return Failure is null ? taken : bytes.Length;
    }

    private static void RequireSettings(FrameHeader header, ReadOnlySpan<byte> bytes)
    {
        if (header.Type == FrameType.Settings && !header.Has(FrameFlags.Ack))
        {
            return;
        }
        throw new Violation(
            Http2ErrorCode.ProtocolError,
            bytes.StartsWith("HTTP/1."u8) ? "it speaks HTTP/1, not HTTP/2" : "the first frame is not SETTINGS");
    }

    private void Take(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        if (header.Type == FrameType.Ping && header.Has(FrameFlags.Ack))
        {
            PingsAnswered++;
        }
        else
        {
            FramesReceived++;
        }
        if (_blockStream != 0 && (header.Type != FrameType.Continuation || header.StreamId != _blockStream))
        {
            throw new Violation(Http2ErrorCode.ProtocolError, "a header block is interrupted by another frame");
        }
        switch (header.Type)
        {
            case FrameType.Data:
                TakeData(header, payload);
                break;
            case FrameType.Headers:
                TakeHeaders(header, payload);
                break;
            case FrameType.Continuation:
                TakeContinuation(header, payload);
                break;
            case FrameType.RstStream:
                TakeReset(header, payload);
                break;
            case FrameType.Settings:
                TakeSettings(header, payload);
                break;
            case FrameType.Ping:
                TakePing(header, payload);
                break;
            case FrameType.GoAway:
                TakeGoAway(header, payload);
                break;
            case FrameType.WindowUpdate:
                TakeWindowUpdate(header, payload);
                break;
            case FrameType.PushPromise:
                throw new Violation(Http2ErrorCode.ProtocolError, "PUSH_PROMISE was not permitted");
            case FrameType.Priority:
                RequireStream(header);
                RequireLength(header, 5);
                Idle();
                break;
            default:
                // RFC 9113, section 4.1: unknown types are ignored.
                Idle();
                break;
        }
    }

    private void TakeData(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        RequireStream(header);
        if (payload.Length > _connectionReceiveWindow)
        {
            throw new Violation(Http2ErrorCode.FlowControlError, "content exceeds the window of the connection");
        }
        _connectionReceiveWindow -= payload.Length;
        _connectionUnacknowledged += payload.Length;
        if (_connectionUnacknowledged >= _options.ConnectionWindow / 2)
        {
            FrameWriter.WindowUpdate(Output, 0, _connectionUnacknowledged);
            _connectionReceiveWindow += _connectionUnacknowledged;
            _connectionUnacknowledged = 0;
        }
        var content = WithoutPadding(header, payload);
        var isEnd = header.Has(FrameFlags.EndStream);
        if (content.IsEmpty && !isEnd)
        {
            Idle();
        }
        if (Find(header) is not { } stream)
        {
            return;
        }
        if (payload.Length > stream.ReceiveWindow)
        {
            throw new Violation(Http2ErrorCode.FlowControlError, "content exceeds the window of its stream");
        }
        stream.ReceiveWindow -= payload.Length;
        if (stream.IsRemoteClosed)
        {
            AbandonRequest(stream, Http2ErrorCode.StreamClosed);
            return;
        }
        if (!stream.HasHead)
        {
            Refuse(stream, "content comes before its header section");
            return;
        }
        if (!content.IsEmpty)
        {
            if (stream.DropsContent)
            {
                // The method or the status rules out content: the response is complete without it.
                AbandonResponse(stream);
                return;
            }
            if (stream.ContentLeft >= 0 && (stream.ContentLeft -= content.Length) < 0)
            {
                Refuse(stream, "its content is longer than its Content-Length says");
                return;
            }
            stream.OnData(content);
        }
        if (isEnd)
        {
            EndRemote(stream, null);
        }
        else if (payload.Length > content.Length)
        {
            Consumed(stream, payload.Length - content.Length, isWaiting: false);
        }
    }

    private void TakeHeaders(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        RequireStream(header);
        var fragment = WithoutPadding(header, payload);
        if (header.Has(FrameFlags.Priority))
        {
            if (fragment.Length < 5)
            {
                throw new Violation(Http2ErrorCode.FrameSizeError, "a HEADERS frame is too short");
            }
            fragment = fragment[5..];
        }
        var endsStream = header.Has(FrameFlags.EndStream);
        if (header.Has(FrameFlags.EndHeaders))
        {
            TakeBlock(header, fragment, endsStream);
            return;
        }
        _blockStream = header.StreamId;
        _blockEndsStream = endsStream;
        _blockLength = 0;
        AddToBlock(fragment);
    }

    private void TakeContinuation(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        if (_blockStream == 0)
        {
            throw new Violation(Http2ErrorCode.ProtocolError, "CONTINUATION follows no HEADERS");
        }
        Idle();
        AddToBlock(payload);
        if (header.Has(FrameFlags.EndHeaders))
        {
            _blockStream = 0;
            TakeBlock(header, _block.AsSpan(0, _blockLength), _blockEndsStream);
            _block = [];
        }
    }

    private void AddToBlock(ReadOnlySpan<byte> fragment)
    {
        var length = _blockLength + fragment.Length;
        if (length > MaxBlock)
        {
            throw new Violation(Http2ErrorCode.EnhanceYourCalm, "a header block is far larger than permitted");
        }
        if (_block.Length < length)
        {
            Array.Resize(ref _block, Math.Min(MaxBlock, Math.Max(length, 2 * _block.Length)));
        }
        fragment.CopyTo(_block.AsSpan(_blockLength));
        _blockLength = length;
    }

    private void TakeBlock(FrameHeader header, ReadOnlySpan<byte> block, bool endsStream)
    {
        // Decode it whatever the stream: later blocks may refer to what this one adds to the table.
        if (!_decoder.TryDecode(block, _fields))
        {
            throw new Violation(Http2ErrorCode.CompressionError, "a header block cannot be decoded");
        }
        if (Find(header) is not { } stream)
        {
            Idle();
            return;
        }
        if (stream.IsRemoteClosed)
        {
            AbandonRequest(stream, Http2ErrorCode.StreamClosed);
            return;
        }
        stream.HasAnyResponse = true;
        HasAnswered = true;
        if (_fields.IsTooLarge)
        {
            FailStream(
                stream, FailureKind.HeadTooLarge, Http2ErrorCode.Cancel,
                $"the {(stream.HasHead ? "trailer" : "header")} section of the response exceeds "
                    + $"{_options.MaxHeaderListSize} bytes");
        }
        else if (stream.HasHead)
        {
            TakeTrailers(stream, endsStream);
        }
        else
        {
            TakeHead(stream, endsStream);
        }
    }

    private static ReadOnlySpan<byte> WithoutPadding(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        if (!header.Has(FrameFlags.Padded))
        {
            return payload;
        }
        if (payload.IsEmpty || payload[0] >= payload.Length)
        {
            throw new Violation(Http2ErrorCode.ProtocolError, "the padding of a frame is larger than the frame");
        }
        return payload[1..^payload[0]];
    }

    /// <summary>The open stream of a frame; null when it is closed.</summary>
    private Http2StreamState? Find(FrameHeader header)
    {
        if (_streams.TryGetValue(header.StreamId, out var stream))
        {
            return stream;
        }
        // Even identifiers are for the peer's own streams, which are not permitted.
        if (header.StreamId >= _nextId || header.StreamId % 2 == 0)
        {
            throw new Violation(Http2ErrorCode.ProtocolError, "a frame is on a stream that was never opened");
        }
        return null;
    }

    private void Fail(Violation violation)
    {
        FrameWriter.GoAway(Output, violation.Code);
        var message = $"the endpoint broke a rule of HTTP/2: {violation.Message}";
        Failure = new StreamFailure(FailureKind.MalformedResponse, SentState.MayHaveBeenProcessed, message);
        _block = [];
        FailAll(FailureKind.MalformedResponse, message, null, null);
    }

    /// <summary>Counts a frame that carries nothing.</summary>
    private void Idle()
    {
        if (!_guard.TryTake())
        {
            throw new Violation(Http2ErrorCode.EnhanceYourCalm, "too many frames that carry nothing");
        }
    }

    private static void RequireStream(FrameHeader header)
    {
        if (header.StreamId == 0)
        {
            throw new Violation(Http2ErrorCode.ProtocolError, "a frame of a stream is on none");
        }
    }

    private static void RequireLength(FrameHeader header, int length)
    {
        if (header.Length != length)
        {
            throw new Violation(
                Http2ErrorCode.FrameSizeError, $"a frame of type {(byte)header.Type} has a wrong length");
        }
    }

    /// <summary>A connection error (RFC 9113, section 5.4.1).</summary>
    private sealed class Violation(Http2ErrorCode code, string message) : Exception(message)
    {
        public Http2ErrorCode Code { get; } = code;
    }
}
