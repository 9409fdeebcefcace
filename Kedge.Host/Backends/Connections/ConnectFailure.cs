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

    /// <summary>Whether the endpoint refused an HTTP/2 stream: it has not processed the request (RFC 9113, 8.7).</summary>
    public static bool IsRefusedStream(Exception? e)
    {
        const long refusedStream = 7;
        for (; e is not null; e = e.InnerException)
        {
            if (e is HttpProtocolException { ErrorCode: refusedStream })
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>Why, without addresses: callers read it, too.</summary>
    public static string Reason(Exception? e) => e switch
    {
        null => "no endpoint",
        OperationCanceledException => "the connection timed out",
        _ when IsRefusedStream(e) => "the endpoint refuses requests",
        { InnerException: SocketException socket } => socket.SocketErrorCode.ToString(),
        { InnerException: AuthenticationException tls } => tls.Message,
        HttpRequestException request => request.HttpRequestError.ToString(),
        _ => e.GetType().Name,
    };
}
