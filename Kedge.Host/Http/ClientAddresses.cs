using System.Net;
using Kedge.Domain;

namespace Kedge.Host.Http;

/// <summary>Finds out whom requests come from.</summary>
/// <param name="trusted">The networks of proxies whose X-Forwarded-For is believed.</param>
internal sealed class ClientAddresses(IReadOnlyList<IPNetwork> trusted)
{
    /// <summary>Whether what the peer says about earlier hops is believed.</summary>
    public bool IsTrusted(ConnectionInfo peer) =>
        trusted.Count > 0 && peer.RemoteIpAddress is { } address && IsTrusted(ClientAddress.unmapped(address));

    /// <summary>
    /// The caller's address: that of the connection or, when it is a trusted proxy, the last address of X-Forwarded-For
    /// that is not one. An entry that cannot be read ends the search at the entry after it.
    /// </summary>
    public IPAddress? Of(HttpContext context)
    {
        if (context.Connection.RemoteIpAddress is not { } peer)
        {
            return null;
        }
        if (!IsTrusted(context.Connection)
            || !context.Request.Headers.TryGetValue(ProxyHeaders.ForwardedFor, out var chain))
        {
            return ClientAddress.unmapped(peer);
        }
        var entries = string.Join(',', (string?[])chain!).Split(',', StringSplitOptions.TrimEntries);
        return ClientAddress.walk(IsTrusted, peer, entries);
    }

    private bool IsTrusted(IPAddress address)
    {
        for (var i = 0; i < trusted.Count; i++)
        {
            if (trusted[i].Contains(address))
            {
                return true;
            }
        }
        return false;
    }
}
