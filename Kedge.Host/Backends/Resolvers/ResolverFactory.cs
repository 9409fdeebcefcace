using Kedge.Domain.Decoded;

namespace Kedge.Host.Backends.Resolvers;

/// <summary>Makes the resolver that a backend's definition names.</summary>
internal sealed class ResolverFactory(DnsLookup dns)
{
    /// <summary>Null: this kind of resolver is not available.</summary>
    public IEndpointResolver? For(Resolver resolver) => resolver switch
    {
        Resolver.Host host => new HostResolver(dns, host.dnsName, (ushort)host.port),
        Resolver.Srv srv => new SrvResolver(dns, srv.dnsName, (ushort)srv.portOverride),
        _ => null,
    };
}
