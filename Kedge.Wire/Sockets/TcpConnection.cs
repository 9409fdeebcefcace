using System.Net;
using System.Net.Sockets;

namespace Kedge.Wire.Sockets;

/// <summary>Opens outgoing TCP connections.</summary>
public static class TcpConnection
{
    /// <summary>The keep-alive of connections to backends.</summary>
    public static readonly TimeSpan DefaultKeepAlive = TimeSpan.FromSeconds(30);

    /// <summary>
    /// Connects, with TCP keep-alive, which detects a vanished peer even while nothing is sent: after
    /// <paramref name="keepAlive"/> without traffic, the system sends up to three probes, a third of that time apart.
    /// </summary>
    /// <param name="address">An IP address, or a name that the system resolves.</param>
    /// <param name="keepAlive">At least 3 seconds.</param>
    /// <exception cref="SocketException">No connection could be made.</exception>
    public static async Task<Socket> ConnectAsync(EndPoint address, TimeSpan keepAlive, CancellationToken cancel)
    {
        var socket = address is DnsEndPoint
            ? new Socket(SocketType.Stream, ProtocolType.Tcp)
            : new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            var seconds = (int)keepAlive.TotalSeconds;
            socket.NoDelay = true;
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, seconds);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, seconds / 3);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
            await socket.ConnectAsync(address, cancel);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
