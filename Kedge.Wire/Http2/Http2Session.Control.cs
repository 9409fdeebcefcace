using System.Buffers.Binary;
using System.Text;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

// Frames that carry no part of a response (RFC 9113, sections 6.4 to 6.9).
internal sealed partial class Http2Session
{
    private const int MaxDebugText = 100;

    private long _highestSendWindow = 65_535;
    private int _lastGoAway = int.MaxValue;

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
            // RFC 9113, section 8.1: after a complete response, a reset means that the rest of the request is not
            // needed.
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
                // This side never sends frames larger than every peer accepts; unknown settings are ignored.
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
        // The identifier of the last stream may only decrease (RFC 9113, section 6.8).
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
            // The peer may have processed the streams that the GOAWAY covers, but nothing more will come from such a
            // connection.
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
            // An update that gives back only what was used is bounded by what this side sends.
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
}
