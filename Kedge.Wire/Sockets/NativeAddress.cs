using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Kedge.Wire.Loops;

namespace Kedge.Wire.Sockets;

/// <summary>
/// Converts addresses to and from the form that Linux system calls use (struct sockaddr_in, sockaddr_in6).
/// </summary>
internal static class NativeAddress
{
    /// <summary>Large enough for either struct.</summary>
    public const int MaxSize = 28;

    private const int Ipv4Size = 16;

    /// <summary>Writes an address.</summary>
    /// <returns>Its size.</returns>
    public static int Write(IPEndPoint address, Span<byte> native)
    {
        native[..MaxSize].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(native[2..], (ushort)address.Port);
        if (address.AddressFamily == AddressFamily.InterNetwork)
        {
            BitConverter.TryWriteBytes(native, (ushort)Libc.InetFamily);
            address.Address.TryWriteBytes(native[4..], out _);
            return Ipv4Size;
        }
        BitConverter.TryWriteBytes(native, (ushort)Libc.Inet6Family);
        address.Address.TryWriteBytes(native[8..], out _);
        BitConverter.TryWriteBytes(native[24..], (uint)address.Address.ScopeId);
        return MaxSize;
    }

    /// <summary>Reads an address; null when it is not an IP address.</summary>
    public static IPEndPoint? Read(ReadOnlySpan<byte> native)
    {
        if (native.Length < Ipv4Size)
        {
            return null;
        }
        var port = BinaryPrimitives.ReadUInt16BigEndian(native[2..]);
        return BitConverter.ToUInt16(native) switch
        {
            Libc.InetFamily => new IPEndPoint(new IPAddress(native[4..8]), port),
            Libc.Inet6Family when native.Length >= MaxSize =>
                new IPEndPoint(new IPAddress(native[8..24], BitConverter.ToUInt32(native[24..])), port),
            _ => null,
        };
    }
}
