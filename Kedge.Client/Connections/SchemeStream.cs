using System.Buffers;
using Kedge.Wire.Sockets;

namespace Kedge.Client.Connections;

/// <summary>
/// Puts <c>:scheme https</c> on the wire of an HTTP/2 connection over TLS where the handler writes <c>:scheme http</c>.
/// </summary>
/// <remarks>
/// <see cref="SocketsHttpHandler"/> keeps a pool for each Host header of https requests, so five hundred services
/// behind one kedge would need five hundred connections. So the handler sees requests to a kedge as http, and this
/// library does the TLS. The scheme that the handler then sends is wrong (RFC 9113, 8.3.1). Its header blocks begin
/// with <c>:method</c> and an indexed <c>:scheme</c>, one byte; a block that begins otherwise passes unchanged.
/// </remarks>
internal sealed class SchemeStream(Stream inner) : AsyncOnlyStream
{
    private const int PrefaceLength = 24;
    private const int FrameHeaderLength = 9;
    private const byte HeadersFrame = 1;

    // RFC 7541, appendix A.
    private const byte SchemeHttp = 0x86;
    private const byte SchemeHttps = 0x87;
    private const byte MethodGet = 0x82;
    private const byte MethodPost = 0x83;

    // A method as a literal whose name is entry 2 of the static table, not indexed.
    private const byte MethodLiteral = 0x02;

    private readonly byte[] _header = new byte[FrameHeaderLength];
    private int _preface = PrefaceLength;
    private int _headerLength;
    // The state of the frame that is being read.
    private int _payload;
    private Field _next;
    private int _skip;

    /// <summary>What the next byte of a header block is.</summary>
    private enum Field
    {
        Unimportant,
        Method,
        MethodLength,
        MethodText,
        Scheme,
    }

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        inner.ReadAsync(buffer, cancellationToken);

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        byte[]? patched = null;
        var span = buffer.Span;
        var at = 0;
        while (NextScheme(span, ref at))
        {
            // The handler's buffer is not ours to change.
            patched ??= Copy(span);
            patched[at - 1] = SchemeHttps;
        }
        return patched is null
            ? inner.WriteAsync(buffer, cancellationToken)
            : WriteAsync(patched, buffer.Length, cancellationToken);
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public override void Flush() => inner.Flush();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
        }
        base.Dispose(disposing);
    }

    private static byte[] Copy(ReadOnlySpan<byte> bytes)
    {
        var copy = ArrayPool<byte>.Shared.Rent(bytes.Length);
        bytes.CopyTo(copy);
        return copy;
    }

    private async ValueTask WriteAsync(byte[] rented, int length, CancellationToken cancel)
    {
        try
        {
            await inner.WriteAsync(rented.AsMemory(0, length), cancel);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    /// <summary>Reads further. True when the byte before <paramref name="at"/> is the scheme http.</summary>
    private bool NextScheme(ReadOnlySpan<byte> bytes, ref int at)
    {
        while (at < bytes.Length)
        {
            if (_preface > 0)
            {
                var taken = Math.Min(_preface, bytes.Length - at);
                _preface -= taken;
                at += taken;
            }
            else if (_payload == 0)
            {
                _header[_headerLength++] = bytes[at++];
                if (_headerLength == FrameHeaderLength)
                {
                    _headerLength = 0;
                    _payload = _header[0] << 16 | _header[1] << 8 | _header[2];
                    _next = _header[3] == HeadersFrame ? Field.Method : Field.Unimportant;
                }
            }
            else if (_next == Field.Unimportant)
            {
                var taken = Math.Min(_payload, bytes.Length - at);
                _payload -= taken;
                at += taken;
            }
            else
            {
                _payload--;
                if (IsSchemeHttp(bytes[at++]))
                {
                    return true;
                }
            }
        }
        return false;
    }

    private bool IsSchemeHttp(byte value)
    {
        switch (_next)
        {
            case Field.Method:
                _next = value switch
                {
                    MethodGet or MethodPost => Field.Scheme,
                    MethodLiteral => Field.MethodLength,
                    _ => Field.Unimportant,
                };
                return false;
            case Field.MethodLength:
                // Without Huffman coding, and with a length that fits into the byte.
                (_skip, _next) = value is > 0 and < 0x7f ? (value, Field.MethodText) : (0, Field.Unimportant);
                return false;
            case Field.MethodText:
                if (--_skip == 0)
                {
                    _next = Field.Scheme;
                }
                return false;
            default:
                _next = Field.Unimportant;
                return value == SchemeHttp;
        }
    }
}
