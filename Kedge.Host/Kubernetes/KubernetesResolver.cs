using Kedge.Domain;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// Resolver <c>k8s</c>: the ready endpoints of a service's port, from the one watch of all endpoint slices.
/// </summary>
/// <param name="watchError">The current error of that watch; null = none.</param>
internal sealed class KubernetesResolver(
    EndpointSliceIndex index, K8sTarget target, bool generated, Func<string?> watchError) : IEndpointResolver
{
    public string? CurrentError => watchError();

    public async Task RunAsync(IEndpointSink sink, CancellationToken stop)
    {
        using (index.Subscribe(target, generated, sink))
        {
            await Task.Delay(Timeout.Infinite, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
