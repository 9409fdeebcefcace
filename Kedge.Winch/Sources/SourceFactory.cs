using Kedge.Client;
using Kedge.Client.Domain.Decoded;
using Kedge.Winch.Proxying;

namespace Kedge.Winch.Sources;

/// <summary>Creates the sources of a file. None of them contacts a provider before its first use.</summary>
internal static class SourceFactory
{
    /// <param name="definitions">The valid definitions.</param>
    /// <param name="timeout">The time limit for one response of a provider.</param>
    /// <param name="previous">
    /// The state before a reload: a source whose definition has not changed is kept, with its tokens and a login in
    /// progress. Null = there is none.
    /// </param>
    public static Dictionary<string, ITokenSource> Create(
        IReadOnlyList<AuthSource> definitions, TimeSpan timeout, WinchState? previous = null)
    {
        var sources = new Dictionary<string, ITokenSource>();
        foreach (var source in definitions)
        {
            if (source.Kind is not SourceKind.ClientCertificate)
            {
                sources[source.Name] = Kept(source, previous) ?? Create(source, timeout);
            }
        }
        return sources;
    }

    private static ITokenSource? Kept(AuthSource source, WinchState? previous) =>
        previous is not null && previous.Files.Sources.Contains(source)
            ? previous.Sources.GetValueOrDefault(source.Name)
            : null;

    private static ITokenSource Create(AuthSource source, TimeSpan timeout)
    {
        try
        {
            return source.Kind switch
            {
                SourceKind.Kube kube => KubeSource.Create(source.Name, kube.Item, timeout),
                SourceKind.Oidc { Item: var oidc } => new OidcSource(
                    source.Name,
                    oidc,
                    new OidcProvider(oidc, timeout),
                    StoreOf(oidc),
                    TimeProvider.System),
                SourceKind.ServiceAccount { Item: var account } =>
                    ServiceAccountSource.Create(source.Name, account, new OidcProvider(Provider(account), timeout)),
                _ => FileMapper.Simple(source) ?? throw new NotSupportedException(source.Name),
            };
        }
        catch (Exception e)
            when (e is IOException or UnauthorizedAccessException or System.Security.Cryptography.CryptographicException
            )
        {
            // A CA file that cannot be read disables only this source, not all of winch.
            return new Broken(source.Name, e.Message);
        }
    }

    private static ITokenStore StoreOf(Oidc oidc)
    {
        var file = new FileStore(oidc.Path, oidc.ClientId);
        var keyring = new KeyringStore(oidc.Provider, oidc.ClientId, file);
        return oidc.Store switch
        {
            TokenStore.Memory => new MemoryStore(),
            TokenStore.Keyring => keyring,
            TokenStore.Auto when oidc.Path.Length == 0 => new KeyringOrFile(keyring, file),
            _ => file,
        };
    }

    /// <summary>The provider's settings for this account.</summary>
    private static Oidc Provider(ServiceAccount account) =>
        new(
            account.Provider,
            account.ClientId,
            account.Secret,
            account.Scopes,
            path: "",
            loginCallbackPath: "",
            LoginFlow.Auto,
            listen: Microsoft.FSharp.Collections.FSharpList<string>.Empty,
            redirectHost: "",
            browserCommand: "",
            openBrowser: false,
            new Microsoft.FSharp.Collections.FSharpMap<string, string>([]),
            audience: "",
            Microsoft.FSharp.Collections.FSharpList<string>.Empty,
            OidcToken.IdToken,
            TokenStore.Memory);

    private sealed class Broken(string name, string reason) : ITokenSource
    {
        public string Name { get; } = name;

        public ValueTask<AuthToken> GetTokenAsync(CancellationToken cancel) => throw new TokenException(Name, reason);
    }
}
