using System.Net.Security;
using System.Runtime.CompilerServices;
using Kedge.Wire.Loops;

namespace Kedge.Wire.Sockets;

/// <summary>The client side of TLS over a channel.</summary>
public sealed class TlsChannel : ByteChannel
{
    private readonly ByteChannel _inner;
    private readonly SslStream _stream;

    private TlsChannel(ByteChannel inner, SslStream stream)
    {
        _inner = inner;
        _stream = stream;
        var protocol = stream.NegotiatedApplicationProtocol;
        ApplicationProtocol = protocol.Protocol.IsEmpty ? null : protocol.ToString();
    }

    public override string? ApplicationProtocol { get; }

    public override EventLoop? Loop => _inner.Loop;

    public override bool ContinuesOnPool
    {
        get => _inner.ContinuesOnPool;
        set => _inner.ContinuesOnPool = value;
    }

    /// <summary>Performs the handshake. The result owns the channel, which is closed if the handshake fails.</summary>
    /// <exception cref="System.Security.Authentication.AuthenticationException">The handshake failed.</exception>
    /// <exception cref="IOException">The connection was lost.</exception>
    public static async ValueTask<ByteChannel> ConnectAsync(
        ByteChannel channel, SslClientAuthenticationOptions options, CancellationToken cancel)
    {
        var stream = new SslStream(new ChannelStream(channel), leaveInnerStreamOpen: false);
        try
        {
            channel.ContinuesOnPool = true;
            await stream.AuthenticateAsClientAsync(options, cancel);
            channel.ContinuesOnPool = false;
            return new TlsChannel(channel, stream);
        }
        catch
        {
            await stream.DisposeAsync();
            throw;
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancel = default)
    {
        try
        {
            return await _stream.ReadAsync(buffer, cancel);
        }
        catch (ObjectDisposedException e)
        {
            throw Aborted(e);
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel = default)
    {
        try
        {
            await _stream.WriteAsync(bytes, cancel);
        }
        catch (Exception e) when (e is ObjectDisposedException or InvalidOperationException)
        {
            throw Aborted(e);
        }
    }

    public override void Abort() => _inner.Abort();

    public override async ValueTask DisposeAsync()
    {
        _inner.Abort();
        await _stream.DisposeAsync();
    }

    private static IOException Aborted(Exception e) => new("the connection was aborted", e);
}
