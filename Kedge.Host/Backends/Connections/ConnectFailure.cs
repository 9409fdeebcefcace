using System.Net.Sockets;
using System.Security.Authentication;

namespace Kedge.Host.Backends.Connections;

/// <summary>What the handler's exceptions say of a connection that could not be made.</summary>
internal static class ConnectFailure
{
    /// <summary>Whether no connection could be made, so that no byte of the request has gone out.</summary>
    public static bool Is(Exception e) => e switch
    {
        HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError or HttpRequestError.SecureConnectionError } => true,
        // The handler's own limit on connecting.
        OperationCanceledException { InnerException: TimeoutException } => true,
        _ => false,
    };

    /// <summary>Why, without addresses: callers read it, too.</summary>
    public static string Reason(Exception? e) => e switch
    {
        null => "no endpoint",
        OperationCanceledException => "the connection timed out",
        { InnerException: SocketException socket } => socket.SocketErrorCode.ToString(),
        { InnerException: AuthenticationException tls } => tls.Message,
        HttpRequestException request => request.HttpRequestError.ToString(),
        _ => e.GetType().Name,
    };
}
