using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Kedge.Host.Listeners;

/// <summary>
/// Accepts connections through a gate. The server's own listener would try again and again, without a pause, when
/// accepting fails for want of a file descriptor.
/// </summary>
internal sealed class GatedListenerFactory(ConnectionGate gate, ILoggerFactory loggers) : IConnectionListenerFactory
{
    private const int Backlog = 512;

    /// <exception cref="ListenFailedException">The address cannot be bound.</exception>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        try
        {
            var socket = SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
            socket.Listen(Backlog);
            var connections = new SocketConnectionContextFactory(
                new SocketConnectionFactoryOptions(), loggers.CreateLogger("kedge.connections"));
            return new(new Listener(socket, connections, gate));
        }
        catch (SocketException e)
        {
            throw new ListenFailedException(endpoint, e);
        }
    }

    private sealed class Listener(Socket socket, SocketConnectionContextFactory connections, ConnectionGate gate)
        : IConnectionListener
    {
        private readonly CancellationTokenSource _unbound = new();

        public EndPoint EndPoint { get; } = socket.LocalEndPoint!;

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            while (!_unbound.IsCancellationRequested)
            {
                Socket? accepted = null;
                try
                {
                    accepted = await socket.AcceptAsync(_unbound.Token);
                    accepted.NoDelay = true;
                    await gate.WaitForRoomAsync(_unbound.Token);
                    return gate.Admit(connections.Create(accepted));
                }
                catch (Exception) when (_unbound.IsCancellationRequested)
                {
                    accepted?.Dispose();
                }
                catch (SocketException e)
                    when (e.SocketErrorCode is SocketError.ConnectionReset or SocketError.ConnectionAborted)
                {
                    // It was reset while it waited to be accepted.
                    accepted?.Dispose();
                }
                catch (Exception e)
                {
                    accepted?.Dispose();
                    await gate.RecoverAsync(e, _unbound.Token).AsTask()
                        .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
            return null;
        }

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
        {
            _unbound.Cancel();
            socket.Dispose();
            return default;
        }

        public async ValueTask DisposeAsync()
        {
            await UnbindAsync();
            connections.Dispose();
        }
    }
}
