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
    X509Certificate2? ClientCertificate);

/// <summary>Finds the access. Called again after the API server has rejected it.</summary>
internal interface IKubernetesAccessSource
{
    Task<KubernetesAccess> FindAsync(CancellationToken stop);
}
