using System.Buffers.Binary;
using System.Text;
using Kedge.Wire.Http2.Hpack;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

internal sealed partial class Http2Session
{
    /// <summary>The most bytes of a frame that can be needed at once: its header and the largest content that this side
    /// permits.</summary>
    public const int MaxFrame = FrameHeader.Size + PeerSettings.LeastMaxFrameSize;

    private const int MaxDebugText = 100;

    private readonly HpackDecoder _decoder;
    private readonly HeaderBlock _fields;

    // A header block whose end is still to come, and the stream that it is for; 0 = there is none.
    private byte[] _block = [];
    private int _blockLength;
    private int _blockStream;
    private bool _blockEndsStream;

    private int _connectionReceiveWindow;
    private int _connectionUnacknowledged;
    private long _highestSendWindow = 65_535;
    private int _lastGoAway = int.MaxValue;

    /// <summary>The most bytes of one header block, over all of its frames. A section that is larger than permitted
    /// fails its stream alone, unless it is larger than this.</summary>
    public int MaxBlock => (4 * _options.MaxHeaderListSize) + PeerSettings.LeastMaxFrameSize;

    /// <summary>Takes what the peer has sent: all whole frames of it.</summary>
    /// <param name="bytes">Beginning with a frame. What the last call has left is to be given again with more.</param>
    /// <param name="now">A time in milliseconds that never goes backwards.</param>
    /// <returns>How many bytes were taken.</returns>
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
                // RFC 9113, section 4.1: types that are not known are ignored.
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
                // The status says that there is none: the response is complete without it.
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
        // Whatever the stream: later blocks may refer to what this one adds to the table.
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

    private void TakeHead(Http2StreamState stream, bool endsStream)
    {
        var problem = ResponseHead.Read(_fields.Fields, out var status, out var contentLength);
        if (problem is null && status == 101)
        {
            problem = "its status is 101, which HTTP/2 does not have";
        }
        if (problem is null && status < 200)
        {
            if (!endsStream && ++stream.Informational <= _options.MaxInformational)
            {
                Idle();
                stream.OnInformational(status, ResponseHead.ToList(_fields.Fields));
                return;
            }
            if (!endsStream)
            {
                // What follows would end the connection soon anyway, with the next request on it.
                throw new Violation(
                    Http2ErrorCode.EnhanceYourCalm, "a response has too many informational responses before it");
            }
            problem = "it ends with an informational response";
        }
        stream.DropsContent = stream.IsHead || status is 204 or 205 or 304;
        if (problem is null && endsStream && contentLength > 0 && !stream.DropsContent)
        {
            problem = "its content is shorter than its Content-Length says";
        }
        if (problem is not null)
        {
            Refuse(stream, problem);
            return;
        }
        stream.HasHead = true;
        stream.ContentLeft = stream.DropsContent ? -1 : contentLength;
        var fields = ResponseHead.ToList(_fields.Fields);
        if (endsStream)
        {
            stream.IsRemoteClosed = true;
        }
        stream.OnHead(status, fields, stream.ContentLeft < 0 ? null : contentLength, endsStream);
        if (endsStream)
        {
            CloseRemote(stream);
        }
    }

    private void TakeTrailers(Http2StreamState stream, bool endsStream)
    {
        var problem = endsStream ? ResponseHead.CheckTrailers(_fields.Fields) : "its trailer section does not end it";
        if (problem is null)
        {
            EndRemote(stream, ResponseHead.ToTrailers(_fields.Fields));
        }
        else
        {
            Refuse(stream, problem);
        }
    }

    private void TakeReset(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        RequireStream(header);
        RequireLength(header, 4);
        var code = (Http2ErrorCode)BinaryPrimitives.ReadUInt32BigEndian(payload);
        if (Find(header) is not { } stream)
        {
            Idle();
            return;
        }
        _observer.StreamReset((uint)code, byPeer: true);
        Remove(stream);
        if (stream.IsRemoteClosed)
        {
            // RFC 9113, section 8.1: after a complete response it means that the rest of the request is not needed.
            stream.OnRequestUnwanted();
            return;
        }
        var sent = code == Http2ErrorCode.RefusedStream && !stream.HasAnyResponse
            ? SentState.CertainlyNotProcessed
            : SentState.MayHaveBeenProcessed;
        stream.OnFailed(new StreamFailure(
            FailureKind.StreamReset, sent, $"the endpoint reset the stream: {code.Name()}", code));
    }

    private void TakeSettings(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        if (header.StreamId != 0)
        {
            throw new Violation(Http2ErrorCode.ProtocolError, "SETTINGS is on a stream");
        }
        if (header.Has(FrameFlags.Ack))
        {
            RequireLength(header, 0);
            Idle();
            return;
        }
        if (payload.Length % 6 != 0)
        {
            throw new Violation(Http2ErrorCode.FrameSizeError, "SETTINGS has a wrong length");
        }
        Idle();
        for (; payload.Length > 0; payload = payload[6..])
        {
            Apply(
                (SettingId)BinaryPrimitives.ReadUInt16BigEndian(payload),
                BinaryPrimitives.ReadUInt32BigEndian(payload[2..]));
        }
        FrameWriter.SettingsAck(Output);
        IsReady = true;
    }

    private void Apply(SettingId id, uint value)
    {
        switch (id)
        {
            case SettingId.HeaderTableSize:
                _encoder.Resize(value);
                break;
            case SettingId.EnablePush when value != 0:
                throw new Violation(Http2ErrorCode.ProtocolError, "a server cannot be pushed to");
            case SettingId.MaxConcurrentStreams:
                Peer.MaxConcurrentStreams = value;
                break;
            case SettingId.InitialWindowSize when value > int.MaxValue:
                throw new Violation(Http2ErrorCode.FlowControlError, "the initial window is too large");
            case SettingId.InitialWindowSize:
                MoveWindows((int)value - (long)Peer.InitialWindow);
                Peer.InitialWindow = (int)value;
                break;
            case SettingId.MaxFrameSize when value is < PeerSettings.LeastMaxFrameSize or > 0xFFFFFF:
                throw new Violation(Http2ErrorCode.ProtocolError, "the largest size of frames is out of range");
            case SettingId.MaxHeaderListSize:
                Peer.MaxHeaderListSize = value;
                break;
            default:
                // Frames of this side are never larger than any peer takes; settings that are not known are ignored.
                break;
        }
    }

    /// <summary>RFC 9113, section 6.9.2: the setting applies to open streams, too, and may make their windows
    /// negative.</summary>
    private void MoveWindows(long change)
    {
        if (change == 0)
        {
            return;
        }
        foreach (var stream in _streams.Values)
        {
            stream.SendWindow += change;
            if (stream.SendWindow > int.MaxValue)
            {
                throw new Violation(Http2ErrorCode.FlowControlError, "a window is too large");
            }
        }
        HasNewWindow = true;
    }

    private void TakePing(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        if (header.StreamId != 0)
        {
            throw new Violation(Http2ErrorCode.ProtocolError, "PING is on a stream");
        }
        RequireLength(header, 8);
        Idle();
        if (!header.Has(FrameFlags.Ack))
        {
            FrameWriter.Ping(Output, isAck: true, payload);
        }
    }

    private void TakeGoAway(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        if (header.StreamId != 0)
        {
            throw new Violation(Http2ErrorCode.ProtocolError, "GOAWAY is on a stream");
        }
        if (payload.Length < 8)
        {
            throw new Violation(Http2ErrorCode.FrameSizeError, "GOAWAY is too short");
        }
        Idle();
        // The last stream may only go down (RFC 9113, section 6.8).
        _lastGoAway = Math.Min(_lastGoAway, BinaryPrimitives.ReadInt32BigEndian(payload) & int.MaxValue);
        var code = (Http2ErrorCode)BinaryPrimitives.ReadUInt32BigEndian(payload[4..]);
        _observer.GoAway((uint)code);
        IsDraining = true;
        var message = $"the endpoint ended the connection: {code.Name()}{DebugText(payload[8..])}";
        foreach (var stream in _streams.Values.Where(stream => stream.Id > _lastGoAway).ToArray())
        {
            Remove(stream);
            if (stream.IsRemoteClosed)
            {
                stream.OnRequestUnwanted();
            }
            else
            {
                var sent = stream.HasAnyResponse ? SentState.MayHaveBeenProcessed : SentState.CertainlyNotProcessed;
                stream.OnFailed(new StreamFailure(FailureKind.GoAway, sent, message, code));
            }
        }
        if (code != Http2ErrorCode.NoError)
        {
            // Streams that it covers may have been processed, but nothing more is to be expected of such a connection.
            Failure = new StreamFailure(FailureKind.GoAway, SentState.MayHaveBeenProcessed, message, code);
            FailAll(FailureKind.GoAway, message, code, null);
        }
    }

    private static string DebugText(ReadOnlySpan<byte> data)
    {
        if (data.IsEmpty)
        {
            return "";
        }
        var text = new StringBuilder(" (");
        foreach (var each in data[..Math.Min(data.Length, MaxDebugText)])
        {
            text.Append(each is >= 0x20 and < 0x7F ? (char)each : '?');
        }
        return text.Append(')').ToString();
    }

    private void TakeWindowUpdate(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        RequireLength(header, 4);
        var increment = BinaryPrimitives.ReadInt32BigEndian(payload) & int.MaxValue;
        if (header.StreamId == 0)
        {
            if (increment == 0 || SendWindow + increment > int.MaxValue)
            {
                throw new Violation(
                    increment == 0 ? Http2ErrorCode.ProtocolError : Http2ErrorCode.FlowControlError,
                    "the window of the connection grows by nothing or too much");
            }
            SendWindow += increment;
            // What gives back no more than was used is bounded by what this side sends.
            if (SendWindow > _highestSendWindow)
            {
                _highestSendWindow = SendWindow;
                Idle();
            }
            HasNewWindow = true;
            return;
        }
        if (Find(header) is not { } stream)
        {
            Idle();
            return;
        }
        if (increment == 0 || stream.SendWindow + increment > int.MaxValue)
        {
            if (stream.IsRemoteClosed)
            {
                AbandonRequest(stream, Http2ErrorCode.FlowControlError);
                return;
            }
            FailStream(
                stream, FailureKind.MalformedResponse,
                increment == 0 ? Http2ErrorCode.ProtocolError : Http2ErrorCode.FlowControlError,
                "the endpoint broke a rule of HTTP/2: the window of a stream grows by nothing or too much");
            return;
        }
        stream.SendWindow += increment;
        if (stream.SendWindow > Peer.InitialWindow)
        {
            Idle();
        }
        HasNewWindow = true;
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
        // Even numbers are the peer's own, which it may not use.
        if (header.StreamId >= _nextId || header.StreamId % 2 == 0)
        {
            throw new Violation(Http2ErrorCode.ProtocolError, "a frame is on a stream that was never opened");
        }
        return null;
    }

    private void EndRemote(Http2StreamState stream, FieldList? trailers)
    {
        if (stream.ContentLeft > 0)
        {
            Refuse(stream, "its content is shorter than its Content-Length says");
            return;
        }
        stream.IsRemoteClosed = true;
        stream.OnEnd(trailers);
        CloseRemote(stream);
    }

    private void CloseRemote(Http2StreamState stream)
    {
        if (stream.IsLocalClosed)
        {
            Remove(stream);
        }
    }

    /// <summary>Takes the response as complete, although the peer sends more of it.</summary>
    private void AbandonResponse(Http2StreamState stream)
    {
        stream.IsRemoteClosed = true;
        stream.OnEnd(null);
        AbandonRequest(stream, Http2ErrorCode.NoError);
    }

    /// <summary>Resets a stream whose response is complete.</summary>
    private void AbandonRequest(Http2StreamState stream, Http2ErrorCode code)
    {
        Reset(stream, code);
        if (!stream.IsLocalClosed)
        {
            stream.OnRequestUnwanted();
        }
    }

    /// <summary>Ends a stream whose response is malformed (RFC 9113, section 8.1.1).</summary>
    private void Refuse(Http2StreamState stream, string problem) =>
        FailStream(
            stream,
            FailureKind.MalformedResponse,
            Http2ErrorCode.ProtocolError,
            $"the response is malformed: {problem}");

    private void FailStream(Http2StreamState stream, FailureKind kind, Http2ErrorCode code, string message)
    {
        Reset(stream, code);
        stream.OnFailed(new StreamFailure(kind, SentState.MayHaveBeenProcessed, message));
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
