using System.Net.Sockets;
using System.Security.Authentication;

namespace Kedge.Host.Backends.Connections;

/// <summary>Interprets the exceptions of connection attempts.</summary>
internal static class ConnectFailure
{
    /// <summary>Whether no connection could be made, so that no byte of the request was sent.</summary>
    public static bool Is(Exception e) => e switch
    {
        HttpRequestException
        {
            HttpRequestError: HttpRequestError.ConnectionError
                or HttpRequestError.NameResolutionError
                or HttpRequestError.SecureConnectionError,
        } => true,
        // The connect timeout of the handler.
        OperationCanceledException { InnerException: TimeoutException } => true,
        _ => false,
    };

    /// <summary>
    /// Whether the endpoint refused the HTTP/2 stream, so it has not processed the request (RFC 9113, 8.7).
    /// </summary>
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

    /// <summary>The reason in words, without addresses, because callers see it.</summary>
    /// <param name="e">Null when there was no endpoint to connect to.</param>
    public static string Reason(Exception? e) => e switch
    {
        null => "no endpoint",
        OperationCanceledException => "the connection timed out",
        _ when IsRefusedStream(e) => "the endpoint refused the stream",
        SocketException socket => socket.SocketErrorCode.ToString(),
        { InnerException: SocketException socket } => socket.SocketErrorCode.ToString(),
        { InnerException: AuthenticationException tls } => tls.Message,
        HttpRequestException request => request.HttpRequestError.ToString(),
        _ => e.GetType().Name,
    };
}
