using Kedge.Domain;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Kubernetes;

/// <summary>Resolver <c>k8s</c>: the ready endpoints of a service's port, from the one watch of all endpoint slices.</summary>
/// <param name="trouble">What is wrong with that watch now; null = nothing.</param>
internal sealed class KubernetesResolver(EndpointSliceIndex index, K8sTarget target, bool generated, Func<string?> trouble)
    : IEndpointResolver
{
    public string? CurrentError => trouble();

    public async Task RunAsync(IEndpointSink sink, CancellationToken stop)
    {
        using (index.Subscribe(target, generated, sink))
        {
            await Task.Delay(Timeout.Infinite, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
