using System.Buffers.Binary;

namespace Kedge.Wire.Http2;

/// <summary>The types of frames (RFC 9113, section 6).</summary>
internal enum FrameType : byte
{
    Data = 0,
    Headers = 1,
    Priority = 2,
    RstStream = 3,
    Settings = 4,
    PushPromise = 5,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
}

/// <summary>The flags of frames. The meaning of a bit depends on the frame's type.</summary>
internal static class FrameFlags
{
    public const byte None = 0;
    public const byte Ack = 1;
    public const byte EndStream = 1;
    public const byte EndHeaders = 4;
    public const byte Padded = 8;
    public const byte Priority = 32;
}

/// <summary>The parameters of SETTINGS (RFC 9113, section 6.5.2).</summary>
internal enum SettingId : ushort
{
    HeaderTableSize = 1,
    EnablePush = 2,
    MaxConcurrentStreams = 3,
    InitialWindowSize = 4,
    MaxFrameSize = 5,
    MaxHeaderListSize = 6,
}

/// <summary>The header of a frame (RFC 9113, section 4.1).</summary>
internal readonly record struct FrameHeader(int Length, FrameType Type, byte Flags, int StreamId)
{
    public const int Size = 9;

    public bool Has(byte flag) => (Flags & flag) != 0;

    /// <summary>Reads from at least <see cref="Size"/> bytes.</summary>
    public static FrameHeader Read(ReadOnlySpan<byte> source) => new(
        (source[0] << 16) | (source[1] << 8) | source[2],
        (FrameType)source[3],
        source[4],
        // The highest bit is reserved and ignored.
        BinaryPrimitives.ReadInt32BigEndian(source[5..]) & int.MaxValue);

    /// <summary>Writes to at least <see cref="Size"/> bytes.</summary>
    public void Write(Span<byte> destination)
    {
        destination[0] = (byte)(Length >> 16);
        destination[1] = (byte)(Length >> 8);
        destination[2] = (byte)Length;
        destination[3] = (byte)Type;
        destination[4] = Flags;
        BinaryPrimitives.WriteInt32BigEndian(destination[5..], StreamId);
    }
}

/// <summary>Writes whole frames.</summary>
internal static class FrameWriter
{
    /// <summary>What a client sends first (RFC 9113, section 3.4).</summary>
    public static ReadOnlySpan<byte> Preface => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8;

    public static void Settings(OutputBuffer output, ReadOnlySpan<(SettingId Id, uint Value)> settings)
    {
        var payload = Begin(output, new FrameHeader(6 * settings.Length, FrameType.Settings, FrameFlags.None, 0));
        foreach (var (id, value) in settings)
        {
            BinaryPrimitives.WriteUInt16BigEndian(payload, (ushort)id);
            BinaryPrimitives.WriteUInt32BigEndian(payload[2..], value);
            payload = payload[6..];
        }
    }

    public static void SettingsAck(OutputBuffer output) =>
        Begin(output, new FrameHeader(0, FrameType.Settings, FrameFlags.Ack, 0));

    public static void Ping(OutputBuffer output, bool isAck, ReadOnlySpan<byte> content) =>
        content.CopyTo(Begin(output, new FrameHeader(8, FrameType.Ping, isAck ? FrameFlags.Ack : FrameFlags.None, 0)));

    public static void WindowUpdate(OutputBuffer output, int streamId, int increment) =>
        BinaryPrimitives.WriteInt32BigEndian(
            Begin(output, new FrameHeader(4, FrameType.WindowUpdate, FrameFlags.None, streamId)), increment);

    public static void RstStream(OutputBuffer output, int streamId, Http2ErrorCode code) =>
        BinaryPrimitives.WriteUInt32BigEndian(
            Begin(output, new FrameHeader(4, FrameType.RstStream, FrameFlags.None, streamId)), (uint)code);

    /// <summary>GOAWAY of a client, which accepts no streams from its peer.</summary>
    public static void GoAway(OutputBuffer output, Http2ErrorCode code)
    {
        var payload = Begin(output, new FrameHeader(8, FrameType.GoAway, FrameFlags.None, 0));
        BinaryPrimitives.WriteInt32BigEndian(payload, 0);
        BinaryPrimitives.WriteUInt32BigEndian(payload[4..], (uint)code);
    }

    public static void Data(OutputBuffer output, int streamId, ReadOnlySpan<byte> content, bool endsStream)
    {
        var flags = endsStream ? FrameFlags.EndStream : FrameFlags.None;
        content.CopyTo(Begin(output, new FrameHeader(content.Length, FrameType.Data, flags, streamId)));
    }

    private static Span<byte> Begin(OutputBuffer output, FrameHeader header)
    {
        var size = FrameHeader.Size + header.Length;
        var span = output.Reserve(size);
        header.Write(span);
        output.Advance(size);
        return span[FrameHeader.Size..size];
    }
}
