using Kedge.Host.Flags;
using Kedge.Host.Telemetry;
using Kedge.Host.Timing;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Listeners;

/// <summary>
/// Ends old connections, so that callers spread over new replicas and repeat their handshakes: with GOAWAY over HTTP/2
/// and <c>Connection: close</c> over HTTP/1.1. Exchanges in flight get a grace period to finish.
/// </summary>
internal static class ConnectionAge
{
    public static void EndWhenOld(this ListenOptions listener, ListenerLimits limits, ListenerCounters counters)
    {
        if (limits.MaxConnectionAge == TimeSpan.Zero)
        {
            return;
        }
        listener.Use(next => async connection =>
        {
            using var closed = new CancellationTokenSource();
            _ = EndLaterAsync();
            try
            {
                await next(connection);
            }
            finally
            {
                await closed.CancelAsync();
            }

            async Task EndLaterAsync()
            {
                var token = closed.Token;
                try
                {
                    // Callers that connected together must not all reconnect together.
                    await Task.Delay(Backoff.Spread(limits.MaxConnectionAge), token);
                    counters.Age();
                    connection.Features.Get<IConnectionLifetimeNotificationFeature>()?.RequestClose();
                    if (limits.ConnectionAgeGrace > TimeSpan.Zero)
                    {
                        await Task.Delay(limits.ConnectionAgeGrace, token);
                        connection.Abort();
                    }
                }
                catch (OperationCanceledException)
                {
                    // The connection closed earlier.
                }
            }
        });
    }
}
