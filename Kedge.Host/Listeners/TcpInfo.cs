using System.Net.Sockets;
using Kedge.Wire.Transport;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Host.Listeners;

/// <summary>What the kernel knows about a TCP connection: Linux's <c>struct tcp_info</c>.</summary>
/// <param name="IsHalfClosed">Whether the peer has closed its side (CLOSE-WAIT).</param>
/// <param name="SinceDataSent">How long ago data was last sent.</param>
/// <param name="BytesReceived">How many bytes of data have been received.</param>
internal readonly record struct TcpInfo(bool IsHalfClosed, TimeSpan SinceDataSent, ulong BytesReceived)
{
    private const int TcpLevel = 6;
    private const int TcpInfoOption = 11;
    private const byte CloseWait = 8;

    // Offsets of tcpi_last_data_sent (milliseconds) and tcpi_bytes_received. The first byte is the state.
    private const int LastDataSent = 44;
    private const int Received = 128;

    /// <summary>Null when the connection is closed, or the system does not report it.</summary>
    public static TcpInfo? Of(IFeatureCollection connection)
    {
        Span<byte> info = stackalloc byte[Received + sizeof(ulong)];
        return Copy(connection, info) < info.Length
            ? null
            : new(
                info[0] == CloseWait,
                TimeSpan.FromMilliseconds(BitConverter.ToUInt32(info[LastDataSent..])),
                BitConverter.ToUInt64(info[Received..]));
    }

    private static int Copy(IFeatureCollection connection, Span<byte> info)
    {
        if (connection.Get<ITcpInfoFeature>() is { } own)
        {
            return own.CopyTcpInfo(info);
        }
        if (!OperatingSystem.IsLinux())
        {
            return 0;
        }
        try
        {
            return connection.Get<IConnectionSocketFeature>()?.Socket
                .GetRawSocketOption(TcpLevel, TcpInfoOption, info) ?? 0;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return 0;
        }
    }
}
