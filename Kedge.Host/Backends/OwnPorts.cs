using System.Net;
using System.Net.Sockets;
using Kedge.Domain;

namespace Kedge.Host.Backends;

/// <summary>
/// The ports of kedge itself on the addresses of this host. They lead to its debug pages and its own routes, which
/// ad-hoc rules must not reach.
/// </summary>
/// <param name="ports">The ports of all listeners.</param>
internal sealed class OwnPorts(IReadOnlySet<int> ports)
{
    /// <summary>
    /// Whether a connection to the address and port would reach this process. Asks the system each time, because
    /// interfaces come and go: a socket can be bound only to an address of the host.
    /// </summary>
    public bool Contains(IPEndPoint target) =>
        ports.Contains(target.Port) && IsOfThisHost(AddressPolicy.destination(target.Address));

    private static bool IsOfThisHost(IPAddress address)
    {
        try
        {
            using var probe = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            probe.Bind(new IPEndPoint(address, 0));
            return true;
        }
        catch (SocketException e)
        {
            // Any other error is inconclusive, so the address counts as one of this host.
            return e.SocketErrorCode != SocketError.AddressNotAvailable;
        }
    }
}
