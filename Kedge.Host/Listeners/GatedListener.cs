using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;

namespace Kedge.Host.Listeners;

/// <summary>Where a listener gets its connections from.</summary>
/// <typeparam name="T">An accepted connection that is not served yet.</typeparam>
internal interface IConnectionSource<T> : IDisposable
    where T : class, IDisposable
{
    EndPoint EndPoint { get; }

    /// <exception cref="SocketException">No connection can be accepted now.</exception>
    ValueTask<T> AcceptAsync(CancellationToken cancel);

    /// <summary>Begins to serve a connection.</summary>
    ConnectionContext Open(T accepted);

    /// <summary>Stops listening. Open connections stay open.</summary>
    void Close();
}

/// <summary>A listener whose connections pass through a gate.</summary>
internal sealed class GatedListener<T>(IConnectionSource<T> source, ConnectionGate gate) : IConnectionListener
    where T : class, IDisposable
{
    private readonly CancellationTokenSource _unbound = new();

    public EndPoint EndPoint => source.EndPoint;

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (!_unbound.IsCancellationRequested)
        {
            T? accepted = null;
            try
            {
                accepted = await source.AcceptAsync(_unbound.Token);
                await gate.WaitForRoomAsync(_unbound.Token);
                return gate.Admit(source.Open(accepted));
            }
            catch (Exception) when (_unbound.IsCancellationRequested)
            {
                accepted?.Dispose();
            }
            catch (SocketException e)
                when (e.SocketErrorCode is SocketError.ConnectionReset or SocketError.ConnectionAborted)
            {
                // The connection was reset before it was accepted.
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
        source.Close();
        return default;
    }

    public async ValueTask DisposeAsync()
    {
        await UnbindAsync();
        source.Dispose();
    }
}
