using System.Buffers.Binary;

namespace Kedge.Host.Telemetry;

/// <summary>
/// Counts the messages in one direction of a gRPC call. Each message consists of a byte of flags, its length in four
/// bytes, and that many bytes (gRPC over HTTP/2, "Length-Prefixed-Message"). A message counts once its last byte has
/// passed.
/// </summary>
public sealed class GrpcMessages
{
    private const int PrefixLength = 5;

    private readonly GrpcMethodCounters? _receiver;
    private readonly GrpcMethodCounters? _sender;
    private int _prefix;
    private uint _length;
    private long _left;

    private GrpcMessages(GrpcMethodCounters? receiver, GrpcMethodCounters? sender)
    {
        _receiver = receiver;
        _sender = sender;
    }

    /// <summary>The counter of the caller's messages; null when the call is not counted.</summary>
    public static GrpcMessages? OfRequest(RequestRecord record) =>
        record.GrpcServer is null ? null : new(record.GrpcServer, record.GrpcClient);

    /// <summary>The counter of the endpoint's messages; null when the call is not counted.</summary>
    public static GrpcMessages? OfResponse(RequestRecord record) =>
        record.GrpcServer is null ? null : new(record.GrpcClient, record.GrpcServer);

    /// <summary>Processes the next bytes of the stream.</summary>
    public void Note(ReadOnlySpan<byte> bytes)
    {
        var messages = Count(bytes);
        if (messages > 0)
        {
            _receiver?.Receive(messages);
            _sender?.Send(messages);
        }
    }

    private int Count(ReadOnlySpan<byte> bytes)
    {
        var messages = 0;
        while (bytes.Length > 0)
        {
            if (_left > 0)
            {
                var part = (int)Math.Min(_left, bytes.Length);
                _left -= part;
                bytes = bytes[part..];
            }
            else if (_prefix == 0 && bytes.Length >= PrefixLength)
            {
                _left = BinaryPrimitives.ReadUInt32BigEndian(bytes[1..]);
                bytes = bytes[PrefixLength..];
            }
            else
            {
                // The prefix arrives in parts. The shift drops the byte of flags.
                _length = (_length << 8) | bytes[0];
                bytes = bytes[1..];
                if (++_prefix < PrefixLength)
                {
                    continue;
                }
                _prefix = 0;
                _left = _length;
            }
            if (_left == 0)
            {
                messages++;
            }
        }
        return messages;
    }
}
