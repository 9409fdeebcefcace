using System.Net;
using Kedge.Domain;

namespace Kedge.Host.Resolvers;

/// <summary>An endpoint as a resolver reports it. Equal values are the same endpoint.</summary>
/// <param name="Address">Where to connect.</param>
/// <param name="DnsName">The name that was looked up, for TLS; empty for an IP address.</param>
/// <param name="Rank">Priority and weight of an SRV record; 0 and 0 otherwise.</param>
public sealed record ResolvedEndpoint(IPEndPoint Address, string DnsName, EndpointRank Rank)
{
    public static ResolvedEndpoint Of(IPAddress address, int port, string dnsName) =>
        new(new IPEndPoint(address, port), dnsName, default);
}
