using System.Net;
using System.Net.Sockets;
using Kedge.Domain;

namespace Kedge.Host.Backends;

/// <summary>
/// The ports of kedge itself on the addresses of this host: behind the listeners of this process are its debug pages
/// and its own routes, which are not for ad-hoc rules.
/// </summary>
/// <param name="ports">Those of all listeners.</param>
internal sealed class OwnPorts(IReadOnlySet<int> ports)
{
    /// <summary>
    /// Whether a connection to the address and port would end at this host. Asks the system each time, because
    /// interfaces come and go: only addresses of the host can be bound.
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
            // When the system does not say so clearly, the address is not used.
            return e.SocketErrorCode != SocketError.AddressNotAvailable;
        }
    }
}
