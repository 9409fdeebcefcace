using System.Net;
using System.Net.Sockets;

namespace Kedge.Wire.Sockets;

/// <summary>A TCP connection on the platform's sockets.</summary>
public sealed class SocketChannel : ByteChannel
{
    private readonly NetworkStream _stream;

    /// <param name="socket">Connected; owned by the channel from now on.</param>
    public SocketChannel(Socket socket) => _stream = new NetworkStream(socket, ownsSocket: true);

    /// <summary>
    /// Connects, with TCP keep-alive, so that a peer that has vanished is noticed even while nothing is sent: after
    /// 30 seconds without traffic the system sends up to three probes, 10 seconds apart.
    /// </summary>
    /// <inheritdoc cref="ChannelConnect"/>
    public static async ValueTask<ByteChannel> ConnectAsync(EndPoint address, CancellationToken cancel)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
            await socket.ConnectAsync(address, cancel);
            return new SocketChannel(socket);
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new IOException(e.SocketErrorCode.ToString(), e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancel = default)
    {
        try
        {
            return _stream.ReadAsync(buffer, cancel);
        }
        catch (ObjectDisposedException e)
        {
            return ValueTask.FromException<int>(Aborted(e));
        }
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel = default)
    {
        try
        {
            return _stream.WriteAsync(bytes, cancel);
        }
        catch (ObjectDisposedException e)
        {
            return ValueTask.FromException(Aborted(e));
        }
    }

    public override void Abort() => _stream.Dispose();

    public override ValueTask DisposeAsync() => _stream.DisposeAsync();

    private static IOException Aborted(ObjectDisposedException e) => new("the connection was aborted", e);
}
