using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Kedge.Bench;

internal static class Ports
{
    public static int Parse(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    /// <summary>A port that is free at this moment.</summary>
    public static int Free()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    public static async Task WaitForAsync(int port, string what)
    {
        for (var attempt = 0; attempt < 200; attempt++)
        {
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, port);
                return;
            }
            catch (SocketException)
            {
                await Task.Delay(50);
            }
        }

        throw new InvalidOperationException($"{what} does not listen on port {port} after 10 seconds");
    }
}
