using System.Net;
using System.Net.Sockets;

namespace Kedge.Wire.Sockets;

/// <summary>A TCP connection that uses the platform's sockets.</summary>
public sealed class SocketChannel : ByteChannel
{
    private readonly NetworkStream _stream;

    /// <param name="socket">Connected; the channel takes ownership.</param>
    public SocketChannel(Socket socket) => _stream = new NetworkStream(socket, ownsSocket: true);

    /// <summary>Connects, with the keep-alive of <see cref="TcpConnection"/>.</summary>
    /// <inheritdoc cref="ChannelConnect"/>
    public static async ValueTask<ByteChannel> ConnectAsync(EndPoint address, CancellationToken cancel)
    {
        try
        {
            // HTTP/2 pings alone do not replace it: common gRPC servers treat frequent pings as abuse.
            return new SocketChannel(
                await TcpConnection.ConnectAsync(address, TcpConnection.DefaultKeepAlive, cancel));
        }
        catch (SocketException e)
        {
            throw new IOException(e.SocketErrorCode.ToString(), e);
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
