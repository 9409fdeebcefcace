using System.Net;

namespace Kedge.Host.Kubernetes;

/// <summary>The API server replied with an error.</summary>
/// <param name="retryAfter">How long the response asks callers to wait; null if it does not say.</param>
public sealed class KubernetesApiException(HttpStatusCode status, string message, TimeSpan? retryAfter = null)
    : Exception(message)
{
    public HttpStatusCode Status => status;

    public TimeSpan? RetryAfter => retryAfter;

    /// <summary>The requested version is no longer available: a new list is needed.</summary>
    public bool IsGone => status == HttpStatusCode.Gone;
}

/// <summary>The API server cannot be reached: for example, there is no address or the kubeconfig is invalid.</summary>
public sealed class KubernetesAccessException(string message, Exception? inner = null) : Exception(message, inner);
