using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Kubernetes;

/// <summary>How to reach the API server, and with which credentials.</summary>
/// <param name="Trusted">Returns the roots for its certificate, at each handshake; null = the system's roots.</param>
/// <param name="Authorization">Returns the header for each request, or null for none.</param>
/// <param name="ClientCertificate">Null = none.</param>
internal sealed record KubernetesAccess(
    Uri Server,
    bool Insecure,
    Func<X509Certificate2Collection?> Trusted,
    Func<CancellationToken, Task<AuthenticationHeaderValue?>> Authorization,
    X509Certificate2? ClientCertificate)
{
    /// <summary>The headers that name the identity to impersonate.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Impersonation { get; init; } = [];

    /// <summary>When the credentials expire; null = unknown.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }
}

/// <summary>Finds the access. Called again when the API server has rejected it or it has expired.</summary>
internal interface IKubernetesAccessSource
{
    /// <exception cref="KubernetesAccessException">There is no access; the message says why.</exception>
    Task<KubernetesAccess> FindAsync(CancellationToken stop);
}
