using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using k8s;
using k8s.KubeConfigModels;
using Kedge.Host.Flags;
using Kedge.Host.Timing;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// Access as a user of a kubeconfig: token, client certificate, password, credential plugin or OIDC. The server comes
/// from <c>k8sclient_kubeapi_url</c>, otherwise from the current context if it has this user, otherwise from the first
/// context with this user.
/// </summary>
internal sealed class KubeConfigAccess(KubernetesOptions options) : IKubernetesAccessSource
{
    // The library finds a user through a context. This is the name of a made-up context and its cluster.
    private const string SyntheticContext = "kedge";

    // A plugin that fails may be expensive, or may lock an account when it is called too often.
    private readonly Backoff _pluginBackoff = new(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(15));
    private DateTimeOffset _nextPluginRun;
    private string _pluginError = "";

    public async Task<KubernetesAccess> FindAsync(CancellationToken stop)
    {
        var path = options.KubeConfigPath;
        try
        {
            return await FindAsync(path, stop);
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

    private async Task<KubernetesAccess> FindAsync(string path, CancellationToken stop)
    {
        var (file, more) = await KubeConfigUser.ReadAsync(path, options.KubeConfigUser, stop);
        var users = file.Users ?? [];
        var user = users.FirstOrDefault(u => u.Name == options.KubeConfigUser)
            ?? throw new KubernetesAccessException(
                $"{path} has no user '{options.KubeConfigUser}' "
                + $"(available: {string.Join(", ", users.Select(u => u.Name))})");
        var cluster = options.ApiUrl is { } given
            ? new ClusterEndpoint { Server = given.AbsoluteUri }
            : ClusterOf(file) ?? throw new KubernetesAccessException(
                $"no API server: k8sclient_kubeapi_url is not given and no context of {path} has the user "
                + $"'{options.KubeConfigUser}'");
        var directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var plugin = user.UserCredentials?.ExternalExecution;
        if (plugin is not null)
        {
            // The library would run the plugin here, and block its caller's thread.
            user.UserCredentials!.ExternalExecution = null;
        }
        if (plugin is not null || more.TokenFile.Length > 0)
        {
            // The library rejects users without credentials that it knows. This token is not sent.
            user.UserCredentials!.Token = "-";
        }
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
        var credential = plugin is null
            ? null
            : await RunPluginAsync(plugin, more.InteractiveMode, directory, cluster, stop);
        var fromCluster = configuration.SslCaCerts;
        var tokenFile = more.TokenFile.Length == 0 ? "" : Path.GetFullPath(more.TokenFile, directory);
        return new KubernetesAccess(
            new Uri(configuration.Host),
            options.TlsInsecure || configuration.SkipTlsVerify,
            () => FlagAccess.ReadRoots(options.CaFile) ?? fromCluster,
            stop => credential is null
                ? AuthorizationAsync(configuration, tokenFile, stop)
                : Task.FromResult(credential.Authorization),
            credential is { Certificate.Length: > 0 }
                ? X509Certificate2.CreateFromPem(credential.Certificate, credential.Key)
                : CertificateOf(configuration))
        {
            Impersonation = more.Impersonation,
            ExpiresAt = credential?.ExpiresAt,
        };
    }

    private async Task<ExecCredential> RunPluginAsync(
        ExternalExecution exec,
        string interactiveMode,
        string directory,
        ClusterEndpoint cluster,
        CancellationToken stop)
    {
        if (interactiveMode == "Always")
        {
            throw new KubernetesAccessException(
                $"credential plugin {exec.Command}: its interactiveMode is Always, but there is no terminal");
        }
        if (DateTimeOffset.UtcNow < _nextPluginRun)
        {
            throw new KubernetesAccessException(_pluginError);
        }
        try
        {
            var credential = await new ExecPlugin(exec, directory, cluster, options.AuthTimeout).RunAsync(stop);
            _pluginBackoff.Reset();
            return credential;
        }
        catch (KubernetesAccessException e)
        {
            _pluginError = e.Message;
            _nextPluginRun = DateTimeOffset.UtcNow + _pluginBackoff.Next();
            throw;
        }
    }

    private ClusterEndpoint? ClusterOf(K8SConfiguration file)
    {
        var context = (file.Contexts ?? [])
            .Where(c => c.ContextDetails?.User == options.KubeConfigUser)
            .MinBy(c => c.Name == file.CurrentContext ? 0 : 1);
        return (file.Clusters ?? []).FirstOrDefault(c => c.Name == context?.ContextDetails.Cluster)?.ClusterEndpoint;
    }

    private async Task<AuthenticationHeaderValue?> AuthorizationAsync(
        KubernetesClientConfiguration configuration, string tokenFile, CancellationToken stop)
    {
        if (tokenFile.Length > 0)
        {
            return await FlagAccess.ReadTokenAsync(tokenFile, stop)
                ?? throw new KubernetesAccessException(
                    $"kubeconfig user '{options.KubeConfigUser}': its tokenFile {tokenFile} is absent or empty");
        }
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
