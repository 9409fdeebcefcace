using System.Net;
using System.Net.Http.Headers;
using Microsoft.Extensions.Primitives;

namespace Kedge.Host.Forwarding;

/// <summary>The headers by which a backend learns of the caller. SPEC section 5.</summary>
internal static class ExchangeHeaders
{
    private const string ForwardedFor = "X-Forwarded-For";
    private const string ForwardedHost = "X-Forwarded-Host";
    private const string ForwardedProto = "X-Forwarded-Proto";

    /// <summary>Whether <see cref="AddForwarded"/> takes care of the header.</summary>
    public static bool IsSetByKedge(string name) =>
        name.Equals(ForwardedFor, StringComparison.OrdinalIgnoreCase)
        || name.Equals(ForwardedHost, StringComparison.OrdinalIgnoreCase)
        || name.Equals(ForwardedProto, StringComparison.OrdinalIgnoreCase);

    /// <summary>
    /// From the connection. What a trusted peer sent is kept: its X-Forwarded-For is added to, and its host and protocol,
    /// which are those that the first hop saw, stand.
    /// </summary>
    public static void AddForwarded(HttpRequestHeaders outgoing, IHeaderDictionary incoming, Exchange exchange, bool isTrusted)
    {
        var peer = exchange.PeerText;
        if (isTrusted && incoming.TryGetValue(ForwardedFor, out var chain) && !StringValues.IsNullOrEmpty(chain))
        {
            peer = $"{string.Join(", ", (string?[])chain!)}, {peer}";
        }
        outgoing.TryAddWithoutValidation(ForwardedFor, peer);
        outgoing.TryAddWithoutValidation(ForwardedHost, Kept(ForwardedHost) ?? exchange.Authority);
        outgoing.TryAddWithoutValidation(ForwardedProto, Kept(ForwardedProto) ?? exchange.Scheme);

        if (exchange.ClientCertificate is { } certificate)
        {
            outgoing.TryAddWithoutValidation(ForwardedClientCert.Name, ForwardedClientCert.Of(certificate));
        }

        string? Kept(string name) => isTrusted && incoming.TryGetValue(name, out var sent) && sent.Count > 0 ? sent[0] : null;
    }

    /// <summary>An IPv4 peer on a socket for both families is written as what it is.</summary>
    public static IPAddress Plain(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
}
