using System.Net.Sockets;
using System.Security.Authentication;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Backends.Connections;

/// <summary>Interprets the exceptions of connection attempts.</summary>
internal static class ConnectFailure
{
    /// <summary>The reason in words, without addresses, because callers see it.</summary>
    /// <param name="e">Null when there was no endpoint to connect to.</param>
    public static string Reason(Exception? e) => e switch
    {
        null => "no endpoint",
        UpstreamException { Kind: not FailureKind.Connect, Sent: SentState.CertainlyNotProcessed } =>
            "the endpoint refused the request",
        UpstreamException { Kind: not FailureKind.Connect } => e.Message,
        UpstreamException { InnerException: { } cause } => Reason(cause),
        OperationCanceledException or TimeoutException => "the connection timed out",
        SocketException socket => socket.SocketErrorCode.ToString(),
        { InnerException: SocketException socket } => socket.SocketErrorCode.ToString(),
        AuthenticationException => e.Message,
        IOException => "the connection was closed during its handshake",
        _ => e.GetType().Name,
    };
}
