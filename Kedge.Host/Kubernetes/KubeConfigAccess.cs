using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using k8s;
using k8s.KubeConfigModels;
using Kedge.Host.Flags;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// Access as a user of a kubeconfig: token, client certificate, password, exec plugin or OIDC. The server is that of
/// <c>k8sclient_kubeapi_url</c>, else that of the current context if it has this user, else that of the first context
/// with this user.
/// </summary>
internal sealed class KubeConfigAccess(KubernetesOptions options) : IKubernetesAccessSource
{
    // The library finds a user through a context. This names the context, and its cluster, that are made up for it.
    private const string SyntheticContext = "kedge";

    public async Task<KubernetesAccess> FindAsync(CancellationToken stop)
    {
        var path = options.KubeConfigPath;
        KubernetesClientConfiguration.ExecTimeout = options.AuthTimeout;
        try
        {
            // An exec plugin is a process that may hang, and the library waits for it on its caller's thread.
            return await Task.Run(() => FindAsync(path), stop).WaitAsync(options.AuthTimeout, stop);
        }
        catch (TimeoutException e)
        {
            throw new KubernetesAccessException(
                $"kubeconfig user '{options.KubeConfigUser}': no credentials within {options.AuthTimeout}", e);
        }
        catch (Exception e) when (e is not (OperationCanceledException or KubernetesAccessException))
        {
            throw new KubernetesAccessException(
                $"kubeconfig user '{options.KubeConfigUser}' of {path}: {e.Message}", e);
        }
    }

    private async Task<KubernetesAccess> FindAsync(string path)
    {
        var file = await KubernetesClientConfiguration.LoadKubeConfigAsync(new FileInfo(path));
        var users = file.Users ?? [];
        if (!users.Any(u => u.Name == options.KubeConfigUser))
        {
            throw new KubernetesAccessException(
                $"{path} has no user '{options.KubeConfigUser}' "
                + $"(available: {string.Join(", ", users.Select(u => u.Name))})");
        }
        var cluster = options.ApiUrl is { } given
            ? new ClusterEndpoint { Server = given.AbsoluteUri }
            : ClusterOf(file) ?? throw new KubernetesAccessException(
                $"no API server: k8sclient_kubeapi_url is not given and no context of {path} has the user "
                + $"'{options.KubeConfigUser}'");
        var configuration = KubernetesClientConfiguration.BuildConfigFromConfigObject(new K8SConfiguration
        {
            FileName = file.FileName,
            CurrentContext = SyntheticContext,
            Contexts =
            [
                new Context
                {
                    Name = SyntheticContext,
                    ContextDetails = new ContextDetails { Cluster = SyntheticContext, User = options.KubeConfigUser },
                },
            ],
            Clusters = [new Cluster { Name = SyntheticContext, ClusterEndpoint = cluster }],
            Users = users,
        });
        var fromCluster = configuration.SslCaCerts;
        return new KubernetesAccess(
            new Uri(configuration.Host),
            options.TlsInsecure || configuration.SkipTlsVerify,
            () => FlagAccess.ReadRoots(options.CaFile) ?? fromCluster,
            stop => AuthorizationAsync(configuration, stop),
            CertificateOf(configuration));
    }

    private ClusterEndpoint? ClusterOf(K8SConfiguration file)
    {
        var context = (file.Contexts ?? [])
            .Where(c => c.ContextDetails?.User == options.KubeConfigUser)
            .MinBy(c => c.Name == file.CurrentContext ? 0 : 1);
        return (file.Clusters ?? []).FirstOrDefault(c => c.Name == context?.ContextDetails.Cluster)?.ClusterEndpoint;
    }

    private async Task<AuthenticationHeaderValue?> AuthorizationAsync(
        KubernetesClientConfiguration configuration, CancellationToken stop)
    {
        if (configuration.TokenProvider is { } provider)
        {
            return await provider.GetAuthenticationHeaderAsync(stop).WaitAsync(options.AuthTimeout, stop);
        }
        if (!string.IsNullOrEmpty(configuration.AccessToken))
        {
            return new AuthenticationHeaderValue("Bearer", configuration.AccessToken);
        }
        if (!string.IsNullOrEmpty(configuration.Username))
        {
            var both = Encoding.UTF8.GetBytes($"{configuration.Username}:{configuration.Password}");
            return new AuthenticationHeaderValue("Basic", Convert.ToBase64String(both));
        }
        return null;
    }

    private static X509Certificate2? CertificateOf(KubernetesClientConfiguration configuration)
    {
        var certificate = Pem(configuration.ClientCertificateData, configuration.ClientCertificateFilePath);
        var key = Pem(configuration.ClientCertificateKeyData, configuration.ClientKeyFilePath);
        return certificate is null || key is null ? null : X509Certificate2.CreateFromPem(certificate, key);

        static string? Pem(string? base64, string? file) =>
            !string.IsNullOrEmpty(file) ? File.ReadAllText(file)
            : !string.IsNullOrEmpty(base64) ? Encoding.UTF8.GetString(Convert.FromBase64String(base64))
            : null;
    }
}
