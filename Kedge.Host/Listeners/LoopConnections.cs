using Kedge.Wire.Transport;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Listeners;

/// <summary>What a connection on an event loop needs.</summary>
internal static class LoopConnections
{
    /// <summary>
    /// Must be added after TLS. A handshake takes long and may look up certificates, so it runs on pool threads. From
    /// here on, the connection continues on its loop's thread.
    /// </summary>
    public static void UseLoops(this ListenOptions listener) =>
        listener.Use(next => connection =>
        {
            if (connection.Features.Get<IEventLoopFeature>() is { } loop)
            {
                loop.ContinuesOnPool = false;
            }
            return next(connection);
        });
}
