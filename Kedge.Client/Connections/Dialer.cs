using System.Net;
using System.Net.Sockets;

namespace Kedge.Client.Connections;

/// <summary>Opens TCP connections.</summary>
internal static class Dialer
{
    // RFC 8305, 5: the next address is tried if the last has not responded by then.
    private static readonly TimeSpan Stagger = TimeSpan.FromMilliseconds(250);

    /// <summary>
    /// Connects to the first address of a host that accepts; tries the addresses staggered and in parallel (RFC 8305).
    /// </summary>
    /// <param name="host">A name or an address.</param>
    /// <param name="port">The port of the host.</param>
    /// <param name="allows">Whether a connection may be made to an address.</param>
    /// <param name="cancel">Ends all attempts.</param>
    /// <exception cref="SocketException">No address accepts the connection; the message names the address that failed
    /// last.</exception>
    public static async Task<NetworkStream> ConnectAsync(
        string host, int port, Func<IPEndPoint, bool>? allows, CancellationToken cancel)
    {
        var addresses = IPAddress.TryParse(host, out var literal)
            ? [literal]
            : await Dns.GetHostAddressesAsync(host, cancel);
        var endpoints = Interleave(addresses).Select(address => new IPEndPoint(address, port)).ToArray();
        if (allows is not null)
        {
            var allowed = endpoints.Where(allows).ToArray();
            if (allowed.Length == 0 && endpoints.Length > 0)
            {
                throw new RejectedAddressException(endpoints[0]);
            }
            endpoints = allowed;
        }
        using var won = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var tries = new List<Task<Socket>>();
        Exception? last = null;
        for (var next = 0; next < endpoints.Length || tries.Count > 0;)
        {
            if (next < endpoints.Length)
            {
                tries.Add(TryAsync(endpoints[next++], won.Token));
            }
            var any = Task.WhenAny(tries);
            var isLast = next == endpoints.Length;
            if (!isLast && await Task.WhenAny(any, Task.Delay(Stagger, won.Token)) != any)
            {
                continue;
            }
            var ended = await any;
            tries.Remove(ended);
            try
            {
                var socket = await ended;
                await won.CancelAsync();
                foreach (var loser in tries)
                {
                    _ = DisposeAsync(loser);
                }
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch (SocketException e)
            {
                last = e;
            }
        }
        throw last ?? new SocketException((int)SocketError.HostNotFound);
    }

    private static async Task<Socket> TryAsync(IPEndPoint endpoint, CancellationToken cancel)
    {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            await socket.ConnectAsync(endpoint, cancel);
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new AddressException(endpoint, e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static async Task DisposeAsync(Task<Socket> loser)
    {
        try
        {
            (await loser).Dispose();
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // This attempt lost in any case.
        }
    }

    /// <summary>
    /// Alternates between families, starting with the family of the resolver's first address (RFC 8305, 4).
    /// </summary>
    private static IEnumerable<IPAddress> Interleave(IPAddress[] addresses)
    {
        var first = addresses.Where(address => address.AddressFamily == addresses[0].AddressFamily).ToArray();
        var second = addresses.Except(first).ToArray();
        for (var i = 0; i < Math.Max(first.Length, second.Length); i++)
        {
            if (i < first.Length)
            {
                yield return first[i];
            }
            if (i < second.Length)
            {
                yield return second[i];
            }
        }
    }
}

/// <summary>An address did not accept the connection.</summary>
internal sealed class AddressException(IPEndPoint endpoint, SocketException inner)
    : SocketException((int)inner.SocketErrorCode)
{
    public override string Message => $"{endpoint}: {base.Message}";
}

/// <summary>Connections to an address are not allowed.</summary>
internal sealed class RejectedAddressException(IPEndPoint endpoint)
    : IOException($"{endpoint} is not a permitted address")
{
    public IPEndPoint Endpoint { get; } = endpoint;
}
