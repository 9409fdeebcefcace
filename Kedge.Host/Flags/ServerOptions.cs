using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using Kedge.Domain;
using Kedge.Domain.Discovery;
using TlsVersion = Kedge.Domain.Decoded.TlsVersion;

namespace Kedge.Host.Flags;

/// <summary>The options of the server: its flags, typed and grouped by subject.</summary>
public sealed record ServerOptions(
    ListenerOptions Listeners,
    TlsOptions Tls,
    AuthorizationOptions Authorization,
    ConfigurationOptions Configuration,
    ForwardingOptions Forwarding,
    ServiceDiscoveryOptions Discovery,
    KubernetesOptions Kubernetes,
    LoggingOptions Logging,
    TracingOptions Tracing)
{
    public static ServerOptions From(FlagValues flags) => new(
        ListenerOptions.From(flags),
        TlsOptions.From(flags),
        AuthorizationOptions.From(flags),
        ConfigurationOptions.From(flags),
        ForwardingOptions.From(flags),
        ServiceDiscoveryOptions.From(flags),
        KubernetesOptions.From(flags),
        LoggingOptions.From(flags),
        TracingOptions.From(flags));
}

/// <summary>A port of 0 is a listener that is off.</summary>
/// <param name="EventLoops">How many event loops serve the connections; zero = the platform's sockets do.</param>
public sealed record ListenerOptions(
    IPAddress BindAddress,
    int GrpcTlsPort,
    int HttpTlsPort,
    int HttpPlainPort,
    int HttpPort,
    int GrpcHealthPort,
    string MetricsPath,
    TimeSpan MaxReadTimeout,
    TimeSpan MaxWriteTimeout,
    TimeSpan ResponseUnreadTimeout,
    TimeSpan SigtermTimeout,
    TimeSpan SigtermDelay,
    TimeSpan HstsMaxAge,
    IReadOnlyList<IPNetwork> ProxyProtocolFrom,
    int EventLoops,
    ListenerLimits Limits)
{
    /// <summary>Whether any listener needs a certificate.</summary>
    public bool HasTls => GrpcTlsPort != 0 || HttpTlsPort != 0;

    /// <summary>Whether there is any listener for proxied traffic.</summary>
    public bool HasProxy => HasTls || HttpPlainPort != 0;

    /// <summary>The ports of all listeners.</summary>
    public IReadOnlySet<int> Ports =>
        new HashSet<int> { GrpcTlsPort, HttpTlsPort, HttpPort, HttpPlainPort, GrpcHealthPort };

    public static ListenerOptions From(FlagValues flags) => new(
        flags.Get(FlagCatalogue.BindAddress),
        flags.Get(FlagCatalogue.GrpcTlsPort),
        flags.Get(FlagCatalogue.HttpTlsPort),
        flags.Get(FlagCatalogue.HttpPlainPort),
        flags.Get(FlagCatalogue.HttpPort),
        flags.Get(FlagCatalogue.GrpcHealthPort),
        flags.Get(FlagCatalogue.MetricsPath),
        flags.Get(FlagCatalogue.MaxReadTimeout),
        flags.Get(FlagCatalogue.MaxWriteTimeout),
        flags.Get(FlagCatalogue.ResponseUnreadTimeout),
        flags.Get(FlagCatalogue.SigtermTimeout),
        flags.Get(FlagCatalogue.SigtermDelay),
        flags.Get(FlagCatalogue.HstsMaxAge),
        flags.Get(FlagCatalogue.ProxyProtocolFrom),
        EventLoopsOf(flags),
        ListenerLimits.From(flags));

    private static int EventLoopsOf(FlagValues flags) =>
        flags.Get(FlagCatalogue.TransportFlag) != Transport.Epoll ? 0
        : flags.Get(FlagCatalogue.ServerThreads) is var threads and > 0 ? threads
        : Environment.ProcessorCount;
}

/// <summary>Limits on the callers of a proxy listener.</summary>
/// <param name="MaxConnections">Zero = no limit.</param>
/// <param name="MaxBufferedMib">Zero = a quarter of the memory.</param>
/// <param name="HeaderTimeout">Zero = no limit.</param>
/// <param name="MaxConnectionAge">Zero = no limit.</param>
/// <param name="ConnectionAgeGrace">Zero = no limit.</param>
public sealed record ListenerLimits(
    int MaxConnections,
    int MaxStreams,
    TimeSpan HeaderTimeout,
    int MaxHeaderBytes,
    int MaxHeaderCount,
    TimeSpan MaxConnectionAge,
    TimeSpan ConnectionAgeGrace,
    int MaxBufferedMib)
{
    public static ListenerLimits From(FlagValues flags) => new(
        flags.Get(FlagCatalogue.MaxConnections),
        flags.Get(FlagCatalogue.MaxStreams),
        flags.Get(FlagCatalogue.HeaderTimeout),
        flags.Get(FlagCatalogue.MaxHeaderBytes),
        flags.Get(FlagCatalogue.MaxHeaderCount),
        flags.Get(FlagCatalogue.MaxConnectionAge),
        flags.Get(FlagCatalogue.ConnectionAgeGrace),
        flags.Get(FlagCatalogue.MaxBufferedMib));
}

/// <summary>
/// Without CA files, clients are not asked for a certificate, regardless of <paramref name="ClientCertRequired"/>.
/// </summary>
public sealed record TlsOptions(
    string CertFile,
    string KeyFile,
    IReadOnlyList<string> CertDirs,
    SecretOptions Secrets,
    bool StrictSni,
    TlsVersion MinVersion,
    IReadOnlyList<TlsCipherSuite> Ciphers,
    IReadOnlyList<string> ClientCaFiles,
    bool ClientCertRequired)
{
    public static TlsOptions From(FlagValues flags) => new(
        flags.Get(FlagCatalogue.CertFile),
        flags.Get(FlagCatalogue.KeyFile),
        flags.Get(FlagCatalogue.CertDirs),
        new(flags.Get(FlagCatalogue.SecretSelector), flags.Get(FlagCatalogue.SecretNamespaces)),
        flags.Get(FlagCatalogue.StrictSni),
        flags.Get(FlagCatalogue.TlsMinVersion),
        flags.Get(FlagCatalogue.TlsCiphers),
        flags.Get(FlagCatalogue.ClientCaFiles),
        flags.Get(FlagCatalogue.ClientCertRequired));
}

/// <summary>At most one of provider URL and bearer token is set; neither = every caller is accepted.</summary>
public sealed record AuthorizationOptions(
    Uri? ProviderUrl,
    string ClientId,
    string PermsClaim,
    string RequiredPerm,
    IReadOnlyList<string> WhitelistPerms,
    bool ForDebugPages,
    string BearerToken)
{
    public static AuthorizationOptions From(FlagValues flags) => new(
        flags.Get(FlagCatalogue.OidcProviderUrl),
        flags.Get(FlagCatalogue.OidcClientId),
        flags.Get(FlagCatalogue.OidcPermsClaim),
        flags.Get(FlagCatalogue.OidcRequiredPerm),
        flags.Get(FlagCatalogue.OidcWhitelistPerms),
        flags.Get(FlagCatalogue.OidcForDebug),
        TokenOf(flags));

    /// <summary>The token in a file, without surrounding white space; or null and a line that names the flag.</summary>
    public static string? ReadToken(string file, out string problem)
    {
        if (FlagFiles.Read(FlagCatalogue.BearerTokenFile, file, out problem) is not { } content)
        {
            return null;
        }
        var token = System.Text.Encoding.UTF8.GetString(content).Trim();
        problem = token.Length == 0 ? $"{FlagCatalogue.BearerTokenFile}: {file}: holds no token" : "";
        return token.Length == 0 ? null : token;
    }

    private static string TokenOf(FlagValues flags)
    {
        var file = flags.Get(FlagCatalogue.BearerTokenFile);
        // The flag checks report a file that cannot be read. Until then, use a random token that no caller can send: an
        // empty one would mean that no token is required.
        return file.Length == 0
            ? flags.Get(FlagCatalogue.BearerToken)
            : ReadToken(file, out _) ?? RandomNumberGenerator.GetHexString(64);
    }

    /// <summary>Leaves out the token, which a record would print.</summary>
    public override string ToString() => $"{nameof(AuthorizationOptions)} {{ ProviderUrl = {ProviderUrl} }}";
}

/// <summary>Each of the two configurations is given inline, as a path, or not at all (both empty).</summary>
public sealed record ConfigurationOptions(string Director, string DirectorPath, string Pool, string PoolPath)
{
    public static ConfigurationOptions From(FlagValues flags) => new(
        flags.Get(FlagCatalogue.DirectorConfig),
        flags.Get(FlagCatalogue.DirectorConfigPath),
        flags.Get(FlagCatalogue.PoolConfig),
        flags.Get(FlagCatalogue.PoolConfigPath));
}

/// <param name="DnsNameservers">Empty = from /etc/resolv.conf.</param>
/// <param name="FailedTargetBackoff">Zero = endpoints are never left out.</param>
/// <param name="MaxTarget">The longest path and query that a request may have, in characters.</param>
public sealed record ForwardingOptions(
    IReadOnlyList<IPNetwork> TrustedProxies,
    IReadOnlyList<IPEndPoint> DnsNameservers,
    TimeSpan DnsAbsenceGrace,
    bool ForwardClientCert,
    bool AdhocAllowLoopback,
    int AdhocMaxLookups,
    bool HttpConnectEnabled,
    int NoRouteStatus,
    PlainDefault PlainDefault,
    TimeSpan FailedTargetBackoff,
    int MaxBackendConnections,
    int MaxEndpointConnections,
    TimeSpan MaxWait,
    int MaxResponseHeaderBytes,
    bool LogResolution,
    int MaxTarget)
{
    public static ForwardingOptions From(FlagValues flags) => new(
        flags.Get(FlagCatalogue.TrustedProxies),
        flags.Get(FlagCatalogue.DnsNameservers),
        flags.Get(FlagCatalogue.DnsAbsenceGrace),
        flags.Get(FlagCatalogue.ForwardClientCert),
        flags.Get(FlagCatalogue.AdhocAllowLoopback),
        flags.Get(FlagCatalogue.AdhocMaxLookups),
        flags.Get(FlagCatalogue.HttpConnectEnabled),
        flags.Get(FlagCatalogue.NoRouteStatus),
        PlainDefaultOf(flags),
        flags.Get(FlagCatalogue.FailedTargetBackoff),
        flags.Get(FlagCatalogue.MaxBackendConnections),
        flags.Get(FlagCatalogue.MaxEndpointConnections),
        flags.Get(FlagCatalogue.MaxBackendWait),
        flags.Get(FlagCatalogue.MaxResponseHeaderBytes),
        flags.Get(FlagCatalogue.LogResolution),
        // The same limit as for the request line at the listeners.
        flags.Get(FlagCatalogue.MaxHeaderBytes) / 4);

    /// <summary>What the plain port does with requests that no route takes.</summary>
    public static PlainDefault PlainDefaultOf(FlagValues flags) =>
        flags.Get(FlagCatalogue.HttpPlainDefault) == PlainDefaultChoice.Redirect
            ? PlainDefault.NewRedirectToHttps((ushort)flags.Get(FlagCatalogue.HttpPlainRedirectPort))
            : PlainDefault.AnswerNoRoute;
}

public sealed record ServiceDiscoveryOptions(
    bool Enabled, string DomainSuffix, string Prefix, string HostTemplate, TimeSpan ResyncTimeout)
{
    public static ServiceDiscoveryOptions From(FlagValues flags) => new(
        flags.Get(FlagCatalogue.DynamicRoutings),
        flags.Get(FlagCatalogue.DiscoverySuffix),
        flags.Get(FlagCatalogue.DiscoveryPrefix),
        flags.Get(FlagCatalogue.DiscoveryHostTemplate),
        flags.Get(FlagCatalogue.DiscoveryResync));

    /// <summary>The options as the core needs them, or null and errors that start with the name of a flag.</summary>
    public DiscoveryOptions? TryResolve(out IReadOnlyList<string> errors)
    {
        var options = DiscoveryOptions.Create(Prefix, DomainSuffix, HostTemplate);
        errors = options.IsError ? [.. options.ErrorValue] : [];
        return options.IsOk ? options.ResultValue : null;
    }
}

/// <summary>The Secrets that hold certificates.</summary>
/// <param name="Selector">The label selector; empty = all of the type <c>kubernetes.io/tls</c>.</param>
/// <param name="Namespaces">Empty = none.</param>
public sealed record SecretOptions(string Selector, IReadOnlyList<string> Namespaces);

/// <param name="ApiUrl">Null = not given, and the process does not run in a pod.</param>
public sealed record KubernetesOptions(
    Uri? ApiUrl,
    bool TlsInsecure,
    string CaFile,
    string TokenFile,
    string KubeConfigUser,
    string KubeConfigPath,
    TimeSpan AuthTimeout,
    TimeSpan ResolverResyncTimeout)
{
    /// <summary>The service of all replicas of kedge; empty = unknown.</summary>
    public string KedgeService { get; init; } = "";

    public static KubernetesOptions From(FlagValues flags) => new(
        flags.Get(FlagCatalogue.KubeApiUrl),
        flags.Get(FlagCatalogue.KubeTlsInsecure),
        flags.Get(FlagCatalogue.KubeCaFile),
        flags.Get(FlagCatalogue.KubeTokenFile),
        flags.Get(FlagCatalogue.KubeConfigUser),
        FlagFiles.ExpandHome(flags.Get(FlagCatalogue.KubeConfigPath)),
        flags.Get(FlagCatalogue.KubeAuthTimeout),
        flags.Get(FlagCatalogue.KubeResolverResync))
    {
        KedgeService = flags.Get(FlagCatalogue.KedgeService),
    };
}

/// <param name="Logstash">Null = log lines go to standard error only.</param>
public sealed record LoggingOptions(
    LogVerbosity Level,
    LogFormat Format,
    bool AccessLog,
    DnsEndPoint? Logstash,
    IReadOnlyList<string> LogstashTags,
    TimeSpan LogstashWriteTimeout,
    int LogstashBufferSize)
{
    public static LoggingOptions From(FlagValues flags) => new(
        flags.Get(FlagCatalogue.LogLevel),
        flags.Get(FlagCatalogue.LogFormatFlag),
        flags.Get(FlagCatalogue.AccessLog),
        flags.Get(FlagCatalogue.LogstashHostPort),
        flags.Get(FlagCatalogue.LogstashTags),
        flags.Get(FlagCatalogue.LogstashWriteTimeout),
        flags.Get(FlagCatalogue.LogstashBufferSize));
}

/// <param name="TracesPerSecond">How many traces may start at kedge per second; callers' traces do not count.</param>
public sealed record TracingOptions(int TracesPerSecond)
{
    public static TracingOptions From(FlagValues flags) => new(flags.Get(FlagCatalogue.TracesPerSecond));
}
