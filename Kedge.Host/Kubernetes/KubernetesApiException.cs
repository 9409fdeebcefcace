using System.Net;

namespace Kedge.Host.Kubernetes;

/// <summary>The API server answered, and not with what was asked for.</summary>
/// <param name="retryAfter">What the answer asks callers to wait; null when it does not say.</param>
public sealed class KubernetesApiException(HttpStatusCode status, string message, TimeSpan? retryAfter = null) : Exception(message)
{
    public HttpStatusCode Status => status;

    public TimeSpan? RetryAfter => retryAfter;

    /// <summary>The version that was asked for is no longer kept: only a new list helps.</summary>
    public bool IsGone => status == HttpStatusCode.Gone;
}

/// <summary>There is no way to the API server as things are: no address, no credentials, an unreadable kubeconfig.</summary>
public sealed class KubernetesAccessException(string message, Exception? inner = null) : Exception(message, inner);
