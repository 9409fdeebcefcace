using System.Net;
using Kedge.Host.Flags;
using Kedge.Host.Http;
using Kedge.Wire.Upstream;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.Extensions.Primitives;

namespace Kedge.Host.Forwarding;

/// <summary>The headers that describe the caller to a backend (docs/matching.md#headers).</summary>
internal sealed class ForwardedHeaders(ForwardingOptions options)
{
    /// <summary>Whether <see cref="Add"/> sets the header.</summary>
    public static bool Sets(string name) =>
        name.Equals(ProxyHeaders.ForwardedFor, StringComparison.OrdinalIgnoreCase)
        || name.Equals(ProxyHeaders.ForwardedHost, StringComparison.OrdinalIgnoreCase)
        || name.Equals(ProxyHeaders.ForwardedProto, StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether what the peer says about earlier hops is believed.</summary>
    public bool IsTrusted(ConnectionInfo peer) =>
        options.TrustedProxies.Count > 0 && peer.RemoteIpAddress is { } address && IsTrusted(Unmapped(address));

    /// <summary>
    /// The caller's address: that of the connection or, when it is a trusted proxy, the last address of X-Forwarded-For
    /// that is not one. An entry that cannot be read ends the search at the entry after it.
    /// </summary>
    public IPAddress? ClientAddressOf(HttpContext context)
    {
        if (context.Connection.RemoteIpAddress is not { } peer)
        {
            return null;
        }
        var client = Unmapped(peer);
        if (!IsTrusted(context.Connection)
            || !context.Request.Headers.TryGetValue(ProxyHeaders.ForwardedFor, out var chain))
        {
            return client;
        }
        var entries = string.Join(',', (string?[])chain!).Split(',', StringSplitOptions.TrimEntries);
        for (var i = entries.Length - 1; i >= 0 && IsTrusted(client); i--)
        {
            if (!IPAddress.TryParse(entries[i], out var address))
            {
                break;
            }
            client = Unmapped(address);
        }
        return client;
    }

    private bool IsTrusted(IPAddress address)
    {
        var trusted = options.TrustedProxies;
        for (var i = 0; i < trusted.Count; i++)
        {
            if (trusted[i].Contains(address))
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>
    /// Sets the headers from the connection. From a trusted peer, X-Forwarded-For is extended, and
    /// X-Forwarded-Host and -Proto, which describe the first hop, are kept.
    /// </summary>
    /// <param name="outgoing">The headers of the request to the backend.</param>
    /// <param name="context">Of the caller's request.</param>
    /// <param name="authority">As the caller sent it.</param>
    /// <param name="isTrusted">See <see cref="IsTrusted(ConnectionInfo)"/>.</param>
    public void Add(FieldList outgoing, HttpContext context, string authority, bool isTrusted)
    {
        var incoming = context.Request.Headers;
        // Not the request's scheme, which a client may choose in HTTP/2.
        var isTls = context.Features.Get<ITlsHandshakeFeature>() is not null;
        var peer = context.Connection.RemoteIpAddress is { } address ? Unmapped(address).ToString() : "unknown";
        if (isTrusted
            && incoming.TryGetValue(ProxyHeaders.ForwardedFor, out var chain)
            && !StringValues.IsNullOrEmpty(chain))
        {
            peer = $"{string.Join(", ", (string?[])chain!)}, {peer}";
        }
        outgoing.Add(ProxyHeaders.ForwardedFor, peer);
        outgoing.Add(ProxyHeaders.ForwardedHost, Kept(ProxyHeaders.ForwardedHost) ?? authority);
        outgoing.Add(
            ProxyHeaders.ForwardedProto,
            Kept(ProxyHeaders.ForwardedProto) ?? (isTls ? Uri.UriSchemeHttps : Uri.UriSchemeHttp));

        if (options.ForwardClientCert && context.Connection.ClientCertificate is { } certificate)
        {
            outgoing.Add(ProxyHeaders.ForwardedClientCert, ForwardedClientCert.Of(certificate));
        }

        string? Kept(string name) =>
            isTrusted && incoming.TryGetValue(name, out var sent) && sent.Count > 0 ? sent[0] : null;
    }

    /// <summary>A dual-stack socket reports IPv4 peers as mapped IPv6 addresses.</summary>
    private static IPAddress Unmapped(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
}
