using System.Net;
using System.Net.Sockets;

namespace Kedge.Host.Listeners;

/// <summary>A listener's address cannot be bound: it is in use, not local, or not permitted.</summary>
public sealed class ListenFailedException(EndPoint address, Exception cause)
    : Exception($"cannot listen on {address}: {Reason(address, cause)}", cause)
{
    private static string Reason(EndPoint address, Exception cause)
    {
        var code = (cause as SocketException)?.SocketErrorCode;
        return address is UnixDomainSocketEndPoint
            ? code switch
            {
                SocketError.AddressAlreadyInUse => "the path is in use",
                SocketError.AddressNotAvailable => "no such directory",
                SocketError.AccessDenied => "permission denied",
                _ => cause.Message,
            }
            : code switch
            {
                SocketError.AddressAlreadyInUse => "the port is in use",
                SocketError.AccessDenied => "permission denied (ports below 1024 need a privilege)",
                SocketError.AddressNotAvailable => "this machine does not have the address",
                _ => cause.Message,
            };
    }
}
