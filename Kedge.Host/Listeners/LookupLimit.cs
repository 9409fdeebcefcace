using Kedge.Host.Backends;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Listeners;

/// <summary>Limits the DNS lookups that the requests of one connection wait for.</summary>
internal static class LookupLimit
{
    public static void LimitLookups(this ListenOptions listener) =>
        listener.Use(next => connection =>
        {
            connection.Features.Set(new ConnectionLookups());
            return next(connection);
        });
}
