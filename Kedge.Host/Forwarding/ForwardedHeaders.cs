using System.Net;
using Kedge.Domain;
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

    private readonly ClientAddresses _clients = new(options.TrustedProxies);

    /// <summary>Whether kedge trusts what the peer says about earlier hops.</summary>
    public bool IsTrusted(ConnectionInfo peer) => _clients.IsTrusted(peer);

    /// <inheritdoc cref="ClientAddresses.Of"/>
    public IPAddress? ClientAddressOf(HttpContext context) => _clients.Of(context);

    /// <summary>
    /// Sets the headers from the connection. If the peer is trusted, extends its X-Forwarded-For, and keeps its
    /// X-Forwarded-Host and -Proto, which describe the first hop.
    /// </summary>
    /// <param name="outgoing">The headers of the request to the backend.</param>
    /// <param name="context">The context of the caller's request.</param>
    /// <param name="authority">The authority as the caller sent it.</param>
    /// <param name="isTrusted">See <see cref="IsTrusted(ConnectionInfo)"/>.</param>
    public void Add(FieldList outgoing, HttpContext context, string authority, bool isTrusted)
    {
        var incoming = context.Request.Headers;
        // Not the request's scheme, which an HTTP/2 client can choose.
        var isTls = context.Features.Get<ITlsHandshakeFeature>() is not null;
        var peer = context.Connection.RemoteIpAddress is { } address
            ? ClientAddress.unmapped(address).ToString()
            : "unknown";
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
}
