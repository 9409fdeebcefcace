using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using Kedge.Host.Flags;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// Access as the flags configure it: address, CA file and token file, which default to those of a pod. The files are
/// read whenever they are needed, because the kubelet rotates them.
/// </summary>
internal sealed class FlagAccess(KubernetesOptions options) : IKubernetesAccessSource
{
    public Task<KubernetesAccess> FindAsync(CancellationToken stop)
    {
        var server = options.ApiUrl ?? throw new KubernetesAccessException(
            "no API server: k8sclient_kubeapi_url is not given and kedge is not running in a pod "
            + "(KUBERNETES_SERVICE_HOST is not set)");
        return Task.FromResult(new KubernetesAccess(
            server,
            options.TlsInsecure,
            () => ReadRoots(options.CaFile),
            stop => ReadTokenAsync(options.TokenFile, stop),
            ClientCertificate: null));
    }

    /// <summary>The certificates of a PEM bundle; null when the file does not exist.</summary>
    public static X509Certificate2Collection? ReadRoots(string file)
    {
        if (file.Length == 0 || !File.Exists(file))
        {
            return null;
        }
        var roots = new X509Certificate2Collection();
        roots.ImportFromPem(SmallFile.ReadText(file));
        return roots;
    }

    /// <summary>The token in a file; null when the file does not exist or is empty.</summary>
    public static async Task<AuthenticationHeaderValue?> ReadTokenAsync(string file, CancellationToken stop)
    {
        if (file.Length == 0 || !File.Exists(file))
        {
            return null;
        }
        var token = (await File.ReadAllTextAsync(file, stop)).Trim();
        return token.Length == 0 ? null : new AuthenticationHeaderValue("Bearer", token);
    }
}
