using System.Net;
using System.Net.Sockets;
using Kedge.Wire.Loops;
using Kedge.Wire.Transport;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Kedge.Host.Listeners;

/// <summary>
/// Accepts connections through a gate. The server's own listener would retry without a pause when accepting fails for
/// lack of a file descriptor.
/// </summary>
/// <param name="loops">The event loops that serve the connections; null = the platform's sockets do.</param>
/// <param name="memory">Where the server's buffers come from.</param>
internal sealed class GatedListenerFactory(
    ConnectionGate gate, EventLoops? loops, IMemoryPoolFactory<byte> memory, ILoggerFactory loggers)
    : IConnectionListenerFactory
{
    private const int Backlog = 512;

    /// <exception cref="ListenFailedException">The address cannot be bound.</exception>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        try
        {
            var socket = SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
            socket.Listen(Backlog);
            return new(loops is null
                ? new GatedListener<Socket>(new SocketSource(socket, loggers), gate)
                : new GatedListener<AcceptedConnection>(new LoopSource(loops, socket, memory), gate));
        }
        catch (SocketException e)
        {
            throw new ListenFailedException(endpoint, e);
        }
    }

    /// <summary>The platform's sockets.</summary>
    private sealed class SocketSource(Socket socket, ILoggerFactory loggers) : IConnectionSource<Socket>
    {
        // How much to read from a caller before the server asks for it, in bytes.
        private const int ReadBuffer = 128 * 1024;

        private readonly SocketConnectionContextFactory _connections = new(
            new SocketConnectionFactoryOptions { MaxReadBufferSize = ReadBuffer },
            loggers.CreateLogger("kedge.connections"));

        public EndPoint EndPoint { get; } = socket.LocalEndPoint!;

        public ValueTask<Socket> AcceptAsync(CancellationToken cancel) => socket.AcceptAsync(cancel);

        public ConnectionContext Open(Socket accepted)
        {
            accepted.NoDelay = true;
            return _connections.Create(accepted);
        }

        public void Close() => socket.Dispose();

        public void Dispose()
        {
            Close();
            _connections.Dispose();
        }
    }

    /// <summary>Event loops.</summary>
    private sealed class LoopSource(EventLoops loops, Socket socket, IMemoryPoolFactory<byte> memory)
        : IConnectionSource<AcceptedConnection>
    {
        private readonly LoopListener _listener = new(
            loops, socket, memory.Create(new MemoryPoolOptions { Owner = "kedge" }));

        public EndPoint EndPoint => _listener.EndPoint;

        public ValueTask<AcceptedConnection> AcceptAsync(CancellationToken cancel) => _listener.AcceptAsync(cancel);

        public ConnectionContext Open(AcceptedConnection accepted) => accepted.Open();

        public void Close() => _listener.Dispose();

        public void Dispose() => Close();
    }
}
