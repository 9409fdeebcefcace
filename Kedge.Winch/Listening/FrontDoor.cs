using System.Net;
using System.Threading.Channels;
using Kedge.Host.Listeners;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Options;

namespace Kedge.Winch.Listening;

/// <summary>
/// Accepts connections and hands each to the part of the server that speaks its protocol. The server itself cannot
/// serve HTTP/1.1 and clear-text HTTP/2 on one port, and does not support CONNECT tunnels; so it listens in memory,
/// once for each protocol.
/// </summary>
internal sealed class FrontDoor : IConnectionListenerFactory, IConnectionListenerFactorySelector, IAsyncDisposable
{
    // Clients are local programs: more connections than this mean that one of them is faulty.
    private const int MostConnections = 4096;

    // Browsers open connections in advance and keep them.
    private static readonly TimeSpan FirstBytesTimeout = TimeSpan.FromMinutes(2);

    private readonly SocketTransportFactory _sockets;
    private readonly Doorway _http1 = new(new MemoryEndPoint("http1"));
    private readonly Doorway _http2 = new(new MemoryEndPoint("http2"));
    private readonly List<IConnectionListener> _listeners = [];
    private readonly List<Task> _accepting = [];
    private int _connections;

    public FrontDoor(ILoggerFactory loggers) =>
        _sockets = new(
            Options.Create(new SocketTransportOptions { CreateBoundListenSocket = UnixSocket.Bind }), loggers);

    /// <summary>The server's endpoint for HTTP/1.1.</summary>
    public EndPoint Http1 => _http1.EndPoint;

    /// <summary>The server's endpoint for HTTP/2.</summary>
    public EndPoint Http2 => _http2.EndPoint;

    /// <summary>Serves a CONNECT request; owns the connection.</summary>
    public Func<ConnectionContext, Arrival, Task>? OnConnect { get; set; }

    /// <summary>The endpoints that accept connections.</summary>
    public IEnumerable<EndPoint> Places => _listeners.Select(listener => listener.EndPoint);

    /// <summary>The ports among them.</summary>
    public IEnumerable<IPEndPoint> Addresses => Places.OfType<IPEndPoint>();

    /// <summary>Opens a port, or a Unix domain socket.</summary>
    /// <param name="address">The address of the port, or the path of the socket.</param>
    /// <param name="hasPages">Whether winch serves its own pages there.</param>
    /// <exception cref="ListenFailedException">It cannot be opened.</exception>
    public async Task ListenAsync(EndPoint address, bool hasPages)
    {
        IConnectionListener listener;
        try
        {
            listener = await _sockets.BindAsync(address);
        }
        catch (Exception e) when (e is AddressInUseException or IOException or System.Net.Sockets.SocketException
            or UnauthorizedAccessException)
        {
            throw new ListenFailedException(address, e.InnerException ?? e);
        }
        _listeners.Add(listener);
        var arrival = new Arrival((listener.EndPoint as IPEndPoint)?.Port ?? 0, hasPages, Tunnel: null);
        _accepting.Add(AcceptAsync(listener, arrival));
    }

    /// <summary>
    /// Hands a connection to the server, which then owns it. False if the connection does not speak HTTP.
    /// </summary>
    public bool TryServe(ConnectionContext connection, FirstBytes protocol, Arrival arrival)
    {
        connection.Features.Set(arrival);
        return protocol switch
        {
            FirstBytes.Http1 or FirstBytes.Connect => _http1.TryEnter(connection),
            FirstBytes.Http2 => _http2.TryEnter(connection),
            _ => false,
        };
    }

    public bool CanBind(EndPoint endpoint) => endpoint is MemoryEndPoint;

    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) =>
        ValueTask.FromResult<IConnectionListener>(endpoint == Http1 ? _http1 : _http2);

    /// <summary>Stops accepting connections.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var listener in _listeners)
        {
            await listener.UnbindAsync();
            await listener.DisposeAsync();
            UnixSocket.Remove(listener.EndPoint);
        }
        await Task.WhenAll(_accepting);
    }

    private async Task AcceptAsync(IConnectionListener listener, Arrival arrival)
    {
        while (await listener.AcceptAsync() is { } connection)
        {
            if (Interlocked.Increment(ref _connections) > MostConnections)
            {
                Interlocked.Decrement(ref _connections);
                connection.Abort(new ConnectionAbortedException("too many connections"));
                await connection.DisposeAsync();
                continue;
            }
            connection.ConnectionClosed.UnsafeRegister(
                static door => Interlocked.Decrement(ref ((FrontDoor)door!)._connections), this);
            _ = ReceiveAsync(connection, arrival);
        }
    }

    private async Task ReceiveAsync(ConnectionContext connection, Arrival arrival)
    {
        try
        {
            var first = await Sniffer.LookAsync(connection.Transport.Input, FirstBytesTimeout);
            if (first == FirstBytes.Connect && OnConnect is { } serve)
            {
                await serve(connection, arrival);
            }
            else if (!TryServe(connection, first, arrival))
            {
                await connection.DisposeAsync();
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
        {
            await connection.DisposeAsync();
        }
    }

    private sealed class MemoryEndPoint(string name) : EndPoint
    {
        public override string ToString() => name;
    }

    /// <summary>The listener on which the server waits for connections of one protocol.</summary>
    private sealed class Doorway(EndPoint endpoint) : IConnectionListener
    {
        private readonly Channel<ConnectionContext> _waiting = Channel.CreateUnbounded<ConnectionContext>();

        public EndPoint EndPoint { get; } = endpoint;

        public bool TryEnter(ConnectionContext connection) => _waiting.Writer.TryWrite(connection);

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default) =>
            await _waiting.Reader.WaitToReadAsync(cancellationToken) && _waiting.Reader.TryRead(out var connection)
                ? connection
                : null;

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
        {
            _waiting.Writer.TryComplete();
            return ValueTask.CompletedTask;
        }

        public ValueTask DisposeAsync() => UnbindAsync();
    }
}
