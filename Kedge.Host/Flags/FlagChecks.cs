using Kedge.Domain;
using Kedge.Wire.Loops;

namespace Kedge.Host.Flags;

/// <summary>Rules about combinations of flags. Each rule yields lines that name the flag to change.</summary>
public static class FlagChecks
{
    /// <summary>Every rule that the flags break. Each flag by itself is well-formed.</summary>
    public static IEnumerable<string> Errors(FlagValues flags) =>
        [
            .. Combinations(flags),
            .. TokenFile(flags),
            .. Platform(flags),
            .. Kubernetes(flags),
            .. Directories(flags),
            .. Namespaces(flags),
        ];

    /// <summary>
    /// The rules that need no file: also for commands that run on another machine than the server.
    /// </summary>
    public static IEnumerable<string> Combinations(FlagValues flags) =>
        [
            .. Sources(flags),
            .. Ports(flags),
            .. Paths(flags),
            .. Authorization(flags),
            .. Discovery(flags),
            .. Service(flags),
        ];

    private static IEnumerable<string> Sources(FlagValues flags)
    {
        (Flag<string> Inline, Flag<string> Path)[] pairs =
        [
            (FlagCatalogue.DirectorConfig, FlagCatalogue.DirectorConfigPath),
            (FlagCatalogue.PoolConfig, FlagCatalogue.PoolConfigPath),
        ];
        foreach (var (inline, path) in pairs)
        {
            if (flags.IsChanged(inline) && flags.IsChanged(path))
            {
                yield return $"{inline}: cannot be used together with {path}";
            }
        }
    }

    private static IEnumerable<string> Ports(FlagValues flags)
    {
        Flag<int>[] ports =
        [
            FlagCatalogue.GrpcTlsPort,
            FlagCatalogue.HttpTlsPort,
            FlagCatalogue.HttpPlainPort,
            FlagCatalogue.HttpPort,
            FlagCatalogue.GrpcHealthPort,
        ];
        var open = ports.Where(port => flags.Get(port) != 0).ToArray();
        if (open.Length == 0)
        {
            yield return $"{FlagCatalogue.HttpTlsPort}: every listener is off";
        }
        for (var i = 0; i < open.Length; i++)
        {
            if (Array.Find(open[..i], earlier => flags.Get(earlier) == flags.Get(open[i])) is { } same)
            {
                yield return $"{open[i]}: {flags.Get(same)} is already the port of {same}";
            }
        }
    }

    private static IEnumerable<string> Platform(FlagValues flags)
    {
        if (flags.Get(FlagCatalogue.TransportFlag) == Transport.Epoll && !EventLoops.IsSupported)
        {
            yield return $"{FlagCatalogue.TransportFlag}: epoll needs Linux on x64 or Arm64";
        }
        if (OperatingSystem.IsWindows() && flags.Get(FlagCatalogue.TlsCiphers).Count > 0)
        {
            yield return
                $"{FlagCatalogue.TlsCiphers}: cannot be chosen on Windows, which has settings of its own for them";
        }
    }

    private static IEnumerable<string> Paths(FlagValues flags)
    {
        var path = flags.Get(FlagCatalogue.MetricsPath);
        if (path.Length == 0)
        {
            yield break;
        }
        if (path.Length < 2 || path[0] != '/')
        {
            yield return
                $"{FlagCatalogue.MetricsPath}: '{path}' is not a path such as {FlagCatalogue.MetricsPath.Default}";
        }
        else if (path.StartsWith("/debug/", StringComparison.Ordinal)
            || path.StartsWith("/_", StringComparison.Ordinal))
        {
            yield return $"{FlagCatalogue.MetricsPath}: '{path}' is reserved for other pages of the debug port";
        }
    }

    private static IEnumerable<string> Authorization(FlagValues flags)
    {
        Flag[] needProvider =
        [
            FlagCatalogue.OidcClientId,
            FlagCatalogue.OidcPermsClaim,
            FlagCatalogue.OidcRequiredPerm,
            FlagCatalogue.OidcWhitelistPerms,
        ];
        var provider = flags.Get(FlagCatalogue.OidcProviderUrl) is not null;
        var inline = flags.IsChanged(FlagCatalogue.BearerToken);
        var file = flags.IsChanged(FlagCatalogue.BearerTokenFile);
        var token = inline || file;
        Flag[] changed = [.. needProvider.Where(flags.IsChanged)];
        // An OIDC flag shows that tokens are wanted. Without a provider, kedge would accept every caller by accident.
        if (!provider && changed.Length > 0)
        {
            yield return $"{FlagCatalogue.OidcProviderUrl}: is empty, but {string.Join(", ", changed)} cannot be used "
                + "without it";
        }
        if (provider && !flags.IsChanged(FlagCatalogue.OidcClientId))
        {
            yield return $"{FlagCatalogue.OidcClientId}: is required with {FlagCatalogue.OidcProviderUrl}";
        }
        if (provider && !flags.IsChanged(FlagCatalogue.OidcPermsClaim)
            && (flags.IsChanged(FlagCatalogue.OidcRequiredPerm) || flags.IsChanged(FlagCatalogue.OidcWhitelistPerms)))
        {
            yield return $"{FlagCatalogue.OidcPermsClaim}: is required when permissions are checked";
        }
        if (provider && token)
        {
            yield return $"{(inline ? FlagCatalogue.BearerToken : FlagCatalogue.BearerTokenFile)}: "
                + $"cannot be used together with {FlagCatalogue.OidcProviderUrl}";
        }
        if (inline && file)
        {
            yield return $"{FlagCatalogue.BearerToken}: cannot be used together with {FlagCatalogue.BearerTokenFile}";
        }
        if (!provider && !token && flags.Get(FlagCatalogue.OidcForDebug))
        {
            yield return
                $"{FlagCatalogue.OidcForDebug}: needs {FlagCatalogue.OidcProviderUrl} or {FlagCatalogue.BearerToken}";
        }
    }

    private static IEnumerable<string> TokenFile(FlagValues flags)
    {
        if (flags.IsChanged(FlagCatalogue.BearerTokenFile)
            && AuthorizationOptions.ReadToken(flags.Get(FlagCatalogue.BearerTokenFile), out var problem) is null)
        {
            yield return problem;
        }
    }

    /// <summary>The rules for the flags of discovery.</summary>
    public static IEnumerable<string> OfDiscovery(FlagValues flags)
    {
        ServiceDiscoveryOptions.From(flags).TryResolve(out var errors);
        return errors.Select(error => "--" + error);
    }

    /// <summary>
    /// Credential files that the command line names must exist. The default files exist only in a pod.
    /// </summary>
    public static IEnumerable<string> Kubernetes(FlagValues flags)
    {
        var isKubeConfig = flags.Get(FlagCatalogue.KubeConfigUser).Length > 0;
        Flag<string>[] files = isKubeConfig
            ? [FlagCatalogue.KubeConfigPath, FlagCatalogue.KubeCaFile]
            : [FlagCatalogue.KubeTokenFile, FlagCatalogue.KubeCaFile];
        foreach (var file in files)
        {
            var path = flags.Get(file);
            if (path.Length > 0 && (flags.IsChanged(file) || file == FlagCatalogue.KubeConfigPath)
                && FlagFiles.Read(file, FlagFiles.ExpandHome(path), out var problem) is null)
            {
                yield return problem;
            }
        }
    }

    private static IEnumerable<string> Namespaces(FlagValues flags) =>
        from space in flags.Get(FlagCatalogue.SecretNamespaces)
        where !KubernetesName.isLabel(space)
        select $"{FlagCatalogue.SecretNamespaces}: '{space}' is not the name of a namespace";

    private static IEnumerable<string> Directories(FlagValues flags) =>
        from directory in flags.Get(FlagCatalogue.CertDirs)
        where !Directory.Exists(directory)
        select $"{FlagCatalogue.CertDirs}: {directory}: no such directory";

    private static IEnumerable<string> Service(FlagValues flags)
    {
        var service = flags.Get(FlagCatalogue.KedgeService);
        if (service.Length > 0 && K8sTargetModule.tryParse(service) is { IsError: true, ErrorValue: var rule })
        {
            yield return $"{FlagCatalogue.KedgeService}: '{service}' must be {rule}";
        }
    }

    private static IEnumerable<string> Discovery(FlagValues flags) =>
        flags.Get(FlagCatalogue.DynamicRoutings) ? OfDiscovery(flags) : [];
}
