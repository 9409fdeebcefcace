using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Kedge.Wire.ProxyProtocol;

/// <summary>What the first bytes of a connection mean in the PROXY protocol.</summary>
public enum ProxyHeaderStatus
{
    /// <summary>More bytes are needed to decide.</summary>
    Incomplete,

    /// <summary>A header of version 1 (text) that names the source.</summary>
    V1,

    /// <summary>A header of version 2 (binary) that names the source.</summary>
    V2,

    /// <summary>
    /// A header of either version without a source: the sender's own connection, such as a health check, or one of a
    /// protocol that it does not know. The socket's addresses apply.
    /// </summary>
    Local,

    /// <summary>The bytes do not start a header.</summary>
    Absent,

    /// <summary>The bytes start a header that is invalid, or that is not for a TCP connection over IP.</summary>
    Malformed,
}

/// <summary>
/// The header that a load balancer puts before the bytes of a connection to identify its source: "The PROXY protocol,
/// versions 1 and 2" (haproxy.org, doc/proxy-protocol.txt). Pure: the same bytes give the same header however they are
/// split, and bytes after the deciding ones change nothing.
/// </summary>
/// <param name="Status">What the bytes are.</param>
/// <param name="Source">The source of the connection; null unless the status is V1 or V2.</param>
/// <param name="Length">The length of the header in bytes; 0 unless it is valid.</param>
public readonly record struct ProxyHeader(ProxyHeaderStatus Status, IPEndPoint? Source, int Length)
{
    /// <summary>The longest header of version 1, with its line end.</summary>
    public const int MaxV1Length = 107;

    /// <summary>The limit for extensions (TLVs) in version 2, in bytes. They are skipped.</summary>
    public const int MaxExtensions = 4096;

    /// <summary>The longest valid header, in bytes. A decision never needs more.</summary>
    public const int MaxLength = V2Prefix + AddressesV6 + MaxExtensions;

    // The signature, the version and command, the family and protocol, and the length of what follows.
    private const int V2Prefix = 16;

    // Two addresses and two ports.
    private const int AddressesV4 = 12;
    private const int AddressesV6 = 36;

    private const byte Local = 0x20;
    private const byte Proxied = 0x21;
    private const byte Unspecified = 0x00;
    private const byte TcpOverV4 = 0x11;
    private const byte TcpOverV6 = 0x21;

    private static ReadOnlySpan<byte> V1Signature => "PROXY "u8;

    private static ReadOnlySpan<byte> V2Signature => "\r\n\r\n\0\r\nQUIT\n"u8;

    /// <summary>Reads the header from the first bytes of a connection.</summary>
    public static ProxyHeader Read(ReadOnlySpan<byte> bytes) =>
        IsStart(bytes, V2Signature)
            ? bytes.Length < V2Signature.Length ? Is(ProxyHeaderStatus.Incomplete) : ReadV2(bytes)
        : IsStart(bytes, V1Signature) ? ReadV1(bytes)
        : Is(ProxyHeaderStatus.Absent);

    /// <summary>
    /// Whether the bytes start a header, valid or not; null while that is not clear. No TLS record or HTTP request
    /// starts like one: the only method that would is <c>PROXY</c>, which is not registered.
    /// </summary>
    public static bool? StartsOne(ReadOnlySpan<byte> bytes) =>
        IsStart(bytes, V2Signature) ? bytes.Length < V2Signature.Length ? null : true
        : IsStart(bytes, V1Signature) ? bytes.Length < V1Signature.Length ? null : true
        : false;

    /// <summary>Whether one of the two starts with the other.</summary>
    private static bool IsStart(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> signature)
    {
        var length = Math.Min(bytes.Length, signature.Length);
        return bytes[..length].SequenceEqual(signature[..length]);
    }

    private static ProxyHeader Is(ProxyHeaderStatus status) => new(status, null, 0);

    private static ProxyHeader ReadV1(ReadOnlySpan<byte> bytes)
    {
        var possible = bytes[..Math.Min(bytes.Length, MaxV1Length)];
        var end = possible.IndexOf((byte)'\n');
        if (end < 0)
        {
            return Is(
                possible.Length < MaxV1Length ? ProxyHeaderStatus.Incomplete : ProxyHeaderStatus.Malformed);
        }
        var line = possible[..(end - 1)];
        if (possible[end - 1] != '\r' || line.Contains((byte)'\r'))
        {
            return Is(ProxyHeaderStatus.Malformed);
        }
        var rest = line[Math.Min(V1Signature.Length, line.Length)..];
        var family = NextWord(ref rest);
        if (family.SequenceEqual("UNKNOWN"u8))
        {
            // The rest of the line is not specified (2.1).
            return new(ProxyHeaderStatus.Local, null, end + 1);
        }
        var isV4 = family.SequenceEqual("TCP4"u8);
        if (!isV4 && !family.SequenceEqual("TCP6"u8))
        {
            return Is(ProxyHeaderStatus.Malformed);
        }
        var source = AddressOf(NextWord(ref rest), isV4);
        var destination = AddressOf(NextWord(ref rest), isV4);
        var sourcePort = PortOf(NextWord(ref rest));
        // The last word: if more words follow, this is not a port.
        var destinationPort = PortOf(rest);
        return source is null || destination is null || sourcePort < 0 || destinationPort < 0
            ? Is(ProxyHeaderStatus.Malformed)
            : new(ProxyHeaderStatus.V1, new IPEndPoint(source, sourcePort), end + 1);
    }

    /// <summary>Takes the word before the next space, and skips that space: exactly one separates two words.</summary>
    private static ReadOnlySpan<byte> NextWord(ref ReadOnlySpan<byte> line)
    {
        var end = line.IndexOf((byte)' ');
        var word = end < 0 ? line : line[..end];
        line = end < 0 ? [] : line[(end + 1)..];
        return word;
    }

    private static IPAddress? AddressOf(ReadOnlySpan<byte> word, bool isV4)
    {
        // The base library accepts other forms, too, such as 1.2, 0x1.2.3.4, [::1]:80 and fe80::1%1.
        var allowed = isV4 ? "0123456789."u8 : "0123456789abcdefABCDEF:."u8;
        if (word.IsEmpty || word.ContainsAnyExcept(allowed))
        {
            return null;
        }
        Span<char> text = stackalloc char[MaxV1Length];
        text = text[..Encoding.ASCII.GetChars(word, text)];
        return IPAddress.TryParse(text, out var address)
            && address.AddressFamily == (isV4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6)
            // Some parsers read a leading zero as octal, and some accept fewer than four numbers.
            && (!isV4 || text.SequenceEqual(address.ToString()))
                ? address
                : null;
    }

    /// <summary>-1 when it is not a port.</summary>
    private static int PortOf(ReadOnlySpan<byte> word) =>
        word.Length > 0
        && (word.Length == 1 || word[0] != '0')
        && ushort.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            ? port
            : -1;

    private static ProxyHeader ReadV2(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < V2Prefix)
        {
            return Is(ProxyHeaderStatus.Incomplete);
        }
        var command = bytes[V2Signature.Length];
        var family = bytes[V2Signature.Length + 1];
        var length = BinaryPrimitives.ReadUInt16BigEndian(bytes[(V2Prefix - 2)..]);
        // For a local connection, the family and the addresses must be ignored (2.2).
        var isLocal = command == Local || (command == Proxied && family == Unspecified);
        var addresses = isLocal ? 0
            : family == TcpOverV4 ? AddressesV4
            : AddressesV6;
        if ((!isLocal && (command != Proxied || family is not (TcpOverV4 or TcpOverV6)))
            || length < addresses
            || length > (isLocal ? AddressesV6 : addresses) + MaxExtensions)
        {
            return Is(ProxyHeaderStatus.Malformed);
        }
        if (bytes.Length < V2Prefix + length)
        {
            return Is(ProxyHeaderStatus.Incomplete);
        }
        if (isLocal)
        {
            return new(ProxyHeaderStatus.Local, null, V2Prefix + length);
        }
        var block = bytes.Slice(V2Prefix, addresses);
        var octets = family == TcpOverV4 ? 4 : 16;
        var source = new IPEndPoint(
            new IPAddress(block[..octets]), BinaryPrimitives.ReadUInt16BigEndian(block[(2 * octets)..]));
        return new(ProxyHeaderStatus.V2, source, V2Prefix + length);
    }
}
