using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Kedge.Wire.Tls;

/// <summary>Whether a <see cref="ClientHello"/> has arrived.</summary>
internal enum ClientHelloStatus
{
    /// <summary>More bytes are needed.</summary>
    Incomplete,

    /// <summary>The bytes are not a TLS handshake.</summary>
    NotTls,

    /// <summary>
    /// It has arrived, or another message has. Whether that is correct is for the TLS library to decide.
    /// </summary>
    Complete,
}

/// <summary>
/// Finds, in the first message of a TLS handshake, the server name that the client asks for (RFC 8446, 4.1.2; RFC 6066,
/// 3), so that the certificate can be chosen before the handshake begins.
/// </summary>
internal static class ClientHello
{
    /// <summary>The longest message that is accepted, in bytes. Today's clients send up to 4,000.</summary>
    public const int MaxLength = 32 * 1024;

    /// <summary>How many bytes may be received before the message is complete.</summary>
    public const int MaxReceived = MaxLength + 8 * 1024;

    private const byte ClientHelloMessage = 1;
    private const int RecordHeader = 5;
    private const int MaxRecord = 16 * 1024;
    private const int ServerNameExtension = 0;

    /// <summary>Looks at the first bytes of a connection.</summary>
    /// <param name="received">The bytes received so far.</param>
    /// <param name="name">The name; empty when the client asks for none, or the message is malformed.</param>
    public static ClientHelloStatus Read(in ReadOnlySequence<byte> received, out string name)
    {
        name = "";
        var length = (int)Math.Min(received.Length, MaxReceived);
        ClientHelloStatus status;
        if (received.FirstSpan.Length >= length)
        {
            status = Read(received.FirstSpan[..length], out name);
        }
        else
        {
            var copy = ArrayPool<byte>.Shared.Rent(length);
            received.Slice(0, length).CopyTo(copy);
            status = Read(copy.AsSpan(0, length), out name);
            ArrayPool<byte>.Shared.Return(copy);
        }
        return status == ClientHelloStatus.Incomplete && length == MaxReceived ? ClientHelloStatus.NotTls : status;
    }

    private static ClientHelloStatus Read(ReadOnlySpan<byte> received, out string name)
    {
        name = "";
        // The message can be split into records of any size.
        byte[]? joined = null;
        var message = ReadOnlySpan<byte>.Empty;
        try
        {
            while (true)
            {
                if (received.Length > 1 && IsOtherRecord(received))
                {
                    return ClientHelloStatus.Complete;
                }
                var status = Record(received, message.Length, out var content);
                if (status != ClientHelloStatus.Complete)
                {
                    return status;
                }
                received = received[(RecordHeader + content.Length)..];
                if (message.IsEmpty)
                {
                    message = content;
                }
                else
                {
                    joined ??= ArrayPool<byte>.Shared.Rent(MaxLength + MaxRecord);
                    message.CopyTo(joined);
                    content.CopyTo(joined.AsSpan(message.Length));
                    message = joined.AsSpan(0, message.Length + content.Length);
                }
                if (message[0] != ClientHelloMessage)
                {
                    return ClientHelloStatus.Complete;
                }
                if (message.Length >= 4)
                {
                    var length = (message[1] << 16) | (message[2] << 8) | message[3];
                    if (length > MaxLength)
                    {
                        return ClientHelloStatus.NotTls;
                    }
                    if (message.Length >= 4 + length)
                    {
                        name = NameIn(message.Slice(4, length));
                        return ClientHelloStatus.Complete;
                    }
                }
            }
        }
        finally
        {
            if (joined is not null)
            {
                ArrayPool<byte>.Shared.Return(joined);
            }
        }
    }

    // Change of cipher, alert, data: TLS, but too early.
    private static bool IsOtherRecord(ReadOnlySpan<byte> received) => received[0] is 20 or 21 or 23 && received[1] == 3;

    /// <summary>The content of the first record.</summary>
    private static ClientHelloStatus Record(ReadOnlySpan<byte> received, int before, out ReadOnlySpan<byte> content)
    {
        content = default;
        if ((received.Length > 0 && received[0] is < 20 or > 23) || (received.Length > 1 && received[1] != 3))
        {
            return ClientHelloStatus.NotTls;
        }
        if (received.Length < RecordHeader)
        {
            return ClientHelloStatus.Incomplete;
        }
        var length = BinaryPrimitives.ReadUInt16BigEndian(received[3..]);
        // Empty records would let a client send endlessly.
        if (length is 0 or > MaxRecord || before > MaxLength)
        {
            return ClientHelloStatus.NotTls;
        }
        if (received.Length < RecordHeader + length)
        {
            return ClientHelloStatus.Incomplete;
        }
        content = received.Slice(RecordHeader, length);
        return ClientHelloStatus.Complete;
    }

    /// <param name="hello">The message without its header.</param>
    private static string NameIn(ReadOnlySpan<byte> hello)
    {
        // Version, random; then vectors with lengths of one or two bytes.
        if (!TrySkip(ref hello, 2 + 32)
            || !TryVector(ref hello, 1, out _)
            || !TryVector(ref hello, 2, out _)
            || !TryVector(ref hello, 1, out _)
            || !TryVector(ref hello, 2, out var extensions))
        {
            return "";
        }
        while (extensions.Length >= 2)
        {
            var type = BinaryPrimitives.ReadUInt16BigEndian(extensions);
            extensions = extensions[2..];
            if (!TryVector(ref extensions, 2, out var extension))
            {
                return "";
            }
            if (type == ServerNameExtension)
            {
                // A list of names, each with a type; 0 is the only type.
                return TryVector(ref extension, 2, out var names)
                    && TrySkip(ref names, 1)
                    && TryVector(ref names, 2, out var name)
                    && Ascii.IsValid(name)
                    ? Encoding.ASCII.GetString(name)
                    : "";
            }
        }
        return "";
    }

    private static bool TrySkip(ref ReadOnlySpan<byte> bytes, int count)
    {
        if (bytes.Length < count)
        {
            return false;
        }
        bytes = bytes[count..];
        return true;
    }

    private static bool TryVector(ref ReadOnlySpan<byte> bytes, int lengthSize, out ReadOnlySpan<byte> content)
    {
        content = default;
        if (bytes.Length < lengthSize)
        {
            return false;
        }
        var length = lengthSize == 1 ? bytes[0] : BinaryPrimitives.ReadUInt16BigEndian(bytes);
        if (bytes.Length < lengthSize + length)
        {
            return false;
        }
        content = bytes.Slice(lengthSize, length);
        bytes = bytes[(lengthSize + length)..];
        return true;
    }
}
