using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Kubernetes;

/// <summary>How to reach the API server, and with which credentials.</summary>
/// <param name="Trusted">Yields the roots for its certificate, at each handshake; null = those of the system.</param>
/// <param name="Authorization">Yields the header for each request, or null for none.</param>
/// <param name="ClientCertificate">Null = none.</param>
internal sealed record KubernetesAccess(
    Uri Server,
    bool Insecure,
    Func<X509Certificate2Collection?> Trusted,
    Func<CancellationToken, Task<AuthenticationHeaderValue?>> Authorization,
    X509Certificate2? ClientCertificate)
{
    /// <summary>The headers that name whom the user acts as.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Impersonation { get; init; } = [];

    /// <summary>When the credentials expire; null = unknown.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }
}

/// <summary>Finds the access. Called again after the API server has rejected it, and when it has expired.</summary>
internal interface IKubernetesAccessSource
{
    /// <exception cref="KubernetesAccessException">There is none, with the reason.</exception>
    Task<KubernetesAccess> FindAsync(CancellationToken stop);
}
