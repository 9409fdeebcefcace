using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Kubernetes;

/// <summary>How to reach the API server, and as whom.</summary>
/// <param name="Trusted">The roots for its certificate, asked for at each handshake; null = the system's.</param>
/// <param name="Authorization">Asked for at each request; yields null for none.</param>
/// <param name="ClientCertificate">Null = none.</param>
internal sealed record KubernetesAccess(
    Uri Server,
    bool Insecure,
    Func<X509Certificate2Collection?> Trusted,
    Func<CancellationToken, Task<AuthenticationHeaderValue?>> Authorization,
    X509Certificate2? ClientCertificate);

/// <summary>Finds the access. Asked again after the API server has refused it.</summary>
internal interface IKubernetesAccessSource
{
    Task<KubernetesAccess> FindAsync(CancellationToken stop);
}
