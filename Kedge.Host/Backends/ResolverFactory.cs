using Kedge.Domain.Decoded;
using Kedge.Host.Kubernetes;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Backends;

/// <summary>Creates the resolver of a backend.</summary>
/// <param name="dns">Looks names up for <c>host</c> and <c>srv</c> backends.</param>
/// <param name="absenceGrace">See <see cref="DnsPolling"/>.</param>
/// <param name="cluster">Resolves <c>k8s</c> backends.</param>
internal sealed class ResolverFactory(DnsLookup dns, TimeSpan absenceGrace, KubernetesCluster cluster)
{
    /// <param name="resolver">The resolver of a valid backend.</param>
    /// <param name="generated">Whether discovery generated the backend.</param>
    public IEndpointResolver Create(Resolver resolver, bool generated) => resolver switch
    {
        Resolver.Host host => new HostResolver(dns, absenceGrace, host.dnsName, (ushort)host.port),
        Resolver.Srv srv => new SrvResolver(dns, absenceGrace, srv.dnsName, (ushort)srv.portOverride),
        Resolver.K8s k8s => cluster.ResolverOf(k8s.dnsPortName, generated),
        _ => throw new InvalidOperationException($"no resolver for {resolver}"),
    };
}
