using System.Net;

namespace Kedge.Host.Listeners;

/// <summary>A listener's address cannot be had: in use, not this machine's, or not permitted.</summary>
public sealed class ListenFailedException(EndPoint address, Exception cause)
    : Exception($"cannot listen on {address}: {Reason(cause)}", cause)
{
    private static string Reason(Exception cause) => cause is System.Net.Sockets.SocketException { SocketErrorCode: var code }
        ? code switch
        {
            System.Net.Sockets.SocketError.AddressAlreadyInUse => "the port is in use",
            System.Net.Sockets.SocketError.AccessDenied => "permission denied (ports below 1024 need a privilege)",
            System.Net.Sockets.SocketError.AddressNotAvailable => "this machine does not have the address",
            _ => cause.Message,
        }
        : cause.Message;
}
