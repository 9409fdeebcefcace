using System.Net;
using Kedge.Domain;

namespace Kedge.Host.Resolvers;

/// <summary>What a resolver says of one endpoint. Two that are equal are the same endpoint.</summary>
/// <param name="Address">Where to connect.</param>
/// <param name="DnsName">The name under which it was found, for TLS; empty when it was found by its address.</param>
/// <param name="Rank">SRV priority and weight; 0 and 0 for others.</param>
public sealed record ResolvedEndpoint(IPEndPoint Address, string DnsName, EndpointRank Rank)
{
    public static ResolvedEndpoint Of(IPAddress address, int port, string dnsName) =>
        new(new IPEndPoint(address, port), dnsName, default);
}
