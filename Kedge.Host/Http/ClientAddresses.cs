using System.Net;
using Kedge.Domain;

namespace Kedge.Host.Http;

/// <summary>Determines which addresses requests come from.</summary>
/// <param name="trusted">The networks of proxies whose X-Forwarded-For is trusted.</param>
internal sealed class ClientAddresses(IReadOnlyList<IPNetwork> trusted)
{
    /// <summary>Whether kedge trusts what the peer says about earlier hops.</summary>
    public bool IsTrusted(ConnectionInfo peer) =>
        trusted.Count > 0 && peer.RemoteIpAddress is { } address && IsTrusted(ClientAddress.unmapped(address));

    /// <summary>
    /// The caller's address: the connection's or, if that is a trusted proxy, the last address in X-Forwarded-For that
    /// is not one. An entry that is not an address ends the search at the entry after it.
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
