using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Listeners;

/// <summary>Counts the connections of a listener.</summary>
internal static class ConnectionCount
{
    public static void Count(this ListenOptions listener, ListenerCounters counters) =>
        listener.Use(next => async connection =>
        {
            counters.Accept();
            try
            {
                await next(connection);
            }
            finally
            {
                counters.Close();
            }
        });
}
