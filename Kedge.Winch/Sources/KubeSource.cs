using Kedge.Client;
using Kedge.Client.Domain.Decoded;
using Kedge.Host.Flags;
using Kedge.Host.Kubernetes;

namespace Kedge.Winch.Sources;

/// <summary>Credentials of a kubeconfig user: token, exec plugin, password or OIDC. Never writes the file.</summary>
internal static class KubeSource
{
    // Only the user is looked up; no API server is called.
    private static readonly Uri NoServer = new("https://kubernetes.invalid");

    private static readonly TimeSpan Recheck = TimeSpan.FromMinutes(1);

    public static ITokenSource Create(string name, Kube kube, TimeSpan timeout) =>
        new CachedTokenSource(
            name,
            async cancel =>
            {
                var options = new KubernetesOptions(
                    NoServer,
                    TlsInsecure: false,
                    CaFile: "",
                    TokenFile: "",
                    kube.User,
                    PathOf(kube),
                    timeout,
                    TimeSpan.Zero);
                try
                {
                    var access = await new KubeConfigAccess(options).FindAsync(cancel);
                    var header = await access.Authorization(cancel);
                    if (header?.Parameter is not { Length: > 0 } value)
                    {
                        throw new TokenException(
                            name,
                            access.ClientCertificate is null
                                ? $"the kubeconfig user {kube.User} has no credentials"
                                : $"kubeconfig user {kube.User}: only a client certificate, which services do not see");
                    }
                    // Plugins cache their tokens themselves; asking again is cheap, and the file may change.
                    return new AuthToken(value, header.Scheme, DateTimeOffset.UtcNow + Recheck);
                }
                catch (KubernetesAccessException e)
                {
                    throw new TokenException(name, e.Message, e);
                }
            });

    private static string PathOf(Kube kube) =>
        kube.Path.Length > 0 ? FileStore.Expand(kube.Path)
        : Environment.GetEnvironmentVariable("KUBECONFIG") is { Length: > 0 } list
            ? list.Split(Path.PathSeparator).FirstOrDefault(File.Exists) ?? list
        : FileStore.Expand("~/.kube/config");
}
