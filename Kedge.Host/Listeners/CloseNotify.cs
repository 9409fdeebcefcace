using Kedge.Host.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Listeners;

/// <summary>
/// Ends TLS connections with the alert <c>close_notify</c>, as both sides must (RFC 8446, 6.1). The server sends none,
/// so a caller would consider a response truncated if it ends with the connection, as over HTTP/1.0.
/// </summary>
internal static class CloseNotify
{
    // How long the alert waits for a caller that reads nothing.
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <summary>Must be added after TLS.</summary>
    public static void UseCloseNotify(this ListenOptions listener) =>
        listener.Use(next => async connection =>
        {
            await next(connection);
            // An aborted connection discards what is written, so the caller can tell that its response was cut.
            if (!connection.ConnectionClosed.IsCancellationRequested
                && TlsEnd.IsTls(connection.Features))
            {
                try
                {
                    // The server leaves its own responses to malformed requests in the buffer.
                    await connection.Transport.Output.CompleteAsync().AsTask().WaitAsync(Timeout);
                    await TlsEnd.SendAsync(connection.Features).WaitAsync(Timeout);
                }
                catch (Exception e) when (e is IOException or InvalidOperationException or TimeoutException)
                {
                    // The caller is gone, or reads nothing.
                }
            }
        });
}
