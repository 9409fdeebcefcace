using System.Net;
using System.Net.Security;
using Kedge.Wire.Loops;
using TlsVersion = Kedge.Domain.Decoded.TlsVersion;

namespace Kedge.Host.Flags;

public enum LogVerbosity
{
    Debug,
    Info,
    Warning,
    Error,
}

/// <summary>What the plain port does with a request that no route takes.</summary>
public enum PlainDefaultChoice
{
    Redirect,
    NoRoute,
}

/// <summary>What reads and writes the connections of callers and backends.</summary>
public enum Transport
{
    /// <summary>Kedge's own event loops; on Linux only.</summary>
    Epoll,

    /// <summary>The platform's sockets.</summary>
    Sockets,
}

public enum LogFormat
{
    Auto,
    Text,
    Json,
}

/// <summary>Every flag of the server. Parsing, help, completion and the flags page all use this list.</summary>
public static class FlagCatalogue
{
    private const string ServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";
    private static readonly List<Flag> Flags = [];

    public static readonly Flag<string> DirectorConfigPath = File(
        "kedge_config_director_config_path", FlagGroup.Configuration,
        "file with the routes and ad-hoc rules (JSON)");
    public static readonly Flag<string> PoolConfigPath = File(
        "kedge_config_backendpool_config_path", FlagGroup.Configuration,
        "file with the backends that routes refer to (JSON)");
    public static readonly Flag<string> DirectorConfig = Text("kedge_config_director_config", FlagGroup.Configuration,
        "routes and ad-hoc rules as JSON on the command line, instead of a file");
    public static readonly Flag<string> PoolConfig = Text("kedge_config_backendpool_config", FlagGroup.Configuration,
        "backends as JSON on the command line, instead of a file");

    public static readonly Flag<IPAddress> BindAddress = Add(new Flag<IPAddress>
    {
        Name = "server_bind_address",
        Group = FlagGroup.Listeners,
        Type = FlagTypes.Address,
        Default = IPAddress.Any,
        Help = "address that all listeners bind to; :: = IPv6 and IPv4",
    });
    public static readonly Flag<int> GrpcTlsPort = Port("server_grpc_tls_port", 8444,
        "port for gRPC over TLS, and nothing else; 0 = off");
    public static readonly Flag<int> HttpTlsPort = Port("server_http_tls_port", 8443,
        "port for HTTPS (HTTP/1.1 and HTTP/2), including gRPC; 0 = off");
    public static readonly Flag<int> HttpPlainPort = Port("server_http_plain_port", 0,
        "port for HTTP without TLS (HTTP/1.1 and HTTP/2) and gRPC, for the routes whose listener is PLAIN or ANY; "
        + "0 = off");
    public static readonly Flag<PlainDefaultChoice> HttpPlainDefault = Add(new Flag<PlainDefaultChoice>
    {
        Name = "server_http_plain_default",
        Group = FlagGroup.Listeners,
        Type = FlagTypes.NameOf<PlainDefaultChoice>(),
        Default = PlainDefaultChoice.Redirect,
        Help = "what the plain port does with a request that no route takes: redirects to https, or answers no-route",
    });
    public static readonly Flag<int> HttpPlainRedirectPort = Add(new Flag<int>
    {
        Name = "server_http_plain_redirect_port",
        Group = FlagGroup.Listeners,
        Type = FlagTypes.PortThatIsOn,
        Default = 443,
        Help = "port of the https URLs that the plain port redirects to by default",
    });
    public static readonly Flag<TimeSpan> HstsMaxAge = Duration("server_hsts_max_age", FlagGroup.Listeners, 0,
        "adds Strict-Transport-Security with this max-age to HTTP answers over TLS; 0 = off");
    public static readonly Flag<int> HttpPort = Port("server_http_port", 8080,
        "plain HTTP port for health checks, metrics and debug pages, never for proxied traffic; 0 = off");
    public static readonly Flag<int> GrpcHealthPort = Port("server_grpc_health_port", 0,
        "port for grpc.health.v1 over clear-text HTTP/2; 0 = off");
    public static readonly Flag<string> MetricsPath = Text("server_metrics_path", FlagGroup.Listeners,
        "path of the Prometheus metrics on the debug port; empty disables the endpoint and its collection", "/metrics");
    public static readonly Flag<TimeSpan> MaxReadTimeout = Duration(
        "server_http_max_read_timeout", FlagGroup.Listeners, 10,
        "ends an exchange when no byte of its request arrives for this long; gRPC streams and WebSockets are exempt");
    public static readonly Flag<TimeSpan> MaxWriteTimeout = Duration(
        "server_http_max_write_timeout", FlagGroup.Listeners, 10,
        "ends an exchange when no byte of its response can be written for this long; gRPC streams and WebSockets "
        + "are exempt");
    public static readonly Flag<TimeSpan> ResponseUnreadTimeout = Duration(
        "server_response_unread_timeout",
        FlagGroup.Listeners,
        120,
        "ends a gRPC call when its caller takes nothing of the response that is due to it for this long; 0 = no limit");
    public static readonly Flag<TimeSpan> SigtermTimeout = Duration("server_sigterm_timeout", FlagGroup.Listeners, 40,
        "how long exchanges in flight may take to finish after SIGTERM or SIGINT");
    public static readonly Flag<TimeSpan> SigtermDelay = Duration("server_sigterm_delay", FlagGroup.Listeners, 0,
        "how long the proxy ports stay open after SIGTERM or SIGINT, while health checks already fail");
    public static readonly Flag<IReadOnlyList<IPNetwork>> ProxyProtocolFrom = Add(new Flag<IReadOnlyList<IPNetwork>>
    {
        Name = "server_proxy_protocol_from",
        Group = FlagGroup.Listeners,
        Type = FlagTypes.Networks,
        Default = [],
        Help = "networks of load balancers, whose connections must begin with a PROXY header (v1 or v2) on every proxy "
            + "listener; those of others must not",
    });
    public static readonly Flag<int> MaxConnections = Count("server_max_connections", FlagGroup.Listeners, 16 * 1024,
        "maximum number of open connections per proxy listener; further ones are closed at once. 0 = no limit");
    public static readonly Flag<TimeSpan> MaxConnectionAge = Duration(
        "server_max_connection_age", FlagGroup.Listeners, 0,
        "ends a caller's connection at this age, give or take a tenth: GOAWAY over HTTP/2, Connection: close over "
        + "HTTP/1.1. 0 = never");
    public static readonly Flag<TimeSpan> ConnectionAgeGrace = Duration(
        "server_max_connection_age_grace", FlagGroup.Listeners, 60,
        "how long exchanges in flight may continue on a connection that is too old; then it is aborted. 0 = no limit");
    public static readonly Flag<int> MaxStreams = Positive("server_http2_max_streams", FlagGroup.Listeners, 250, 1,
        "maximum number of concurrent requests on one HTTP/2 connection");
    public static readonly Flag<TimeSpan> HeaderTimeout = Duration("server_header_timeout", FlagGroup.Listeners, 10,
        "how long a PROXY header and a TLS handshake may take each, and how long the headers of a request may take to "
        + "arrive; 0 = no limit");
    public static readonly Flag<int> MaxHeaderBytes = Positive(
        "server_max_header_bytes", FlagGroup.Listeners, 128 * 1024, 4 * 1024,
        "maximum total size of a request's headers, in bytes; the request line may take up to a quarter of it");
    public static readonly Flag<int> MaxHeaderCount = Positive("server_max_header_count", FlagGroup.Listeners, 200, 16,
        "maximum number of header lines in a request");

    public static readonly Flag<int> MaxBufferedMib = Count("server_max_buffered_mib", FlagGroup.Listeners, 0,
        "memory for responses that callers do not read and requests that backends do not read, for all callers "
        + "together, in MiB; above it, kedge closes the connections that hold the most. 0 = a quarter of the memory "
        + "available to the process");

    public static readonly Flag<Transport> TransportFlag = Add(new Flag<Transport>
    {
        Name = "transport",
        Group = FlagGroup.Listeners,
        Type = FlagTypes.OneOf<Transport>(),
        Default = EventLoops.IsSupported ? Transport.Epoll : Transport.Sockets,
        Help = "what serves the connections: kedge's own event loops (epoll, the default on Linux), or the platform's "
            + "sockets",
    });
    public static readonly Flag<int> ServerThreads = Count("server_threads", FlagGroup.Listeners, 0,
        "with epoll: the number of event loops; 0 = one for each core that the process may use");

    public static readonly Flag<string> CertFile = File("server_tls_cert_file", FlagGroup.Tls,
        "server certificate with its intermediates (PEM)", "misc/localhost.crt");
    public static readonly Flag<string> KeyFile = File("server_tls_key_file", FlagGroup.Tls,
        "private key of the server certificate (PEM, unencrypted)", "misc/localhost.key");
    public static readonly Flag<IReadOnlyList<string>> CertDirs = Files("server_tls_cert_dirs", FlagGroup.Tls,
        "directories with further certificates, each used for the names in it: NAME.crt with NAME.key, or "
        + "subdirectories with tls.crt and tls.key");
    public static readonly Flag<string> SecretSelector = Text("server_tls_secret_selector", FlagGroup.Tls,
        "label selector of the Secrets of the type kubernetes.io/tls with further certificates",
        "kedge.com/certificate=true");
    public static readonly Flag<IReadOnlyList<string>> SecretNamespaces = Texts(
        "server_tls_secret_namespaces", FlagGroup.Tls,
        "namespaces in which kedge reads such Secrets; empty = none");
    public static readonly Flag<bool> StrictSni = Switch("server_tls_strict_sni", FlagGroup.Tls,
        "refuses connections for names that no certificate has, instead of using the certificate of "
        + "--server_tls_cert_file");
    public static readonly Flag<TlsVersion> TlsMinVersion = Add(new Flag<TlsVersion>
    {
        Name = "server_tls_min_version",
        Group = FlagGroup.Tls,
        Type = FlagTypes.TlsVersions,
        Default = TlsVersion.Tls12,
        Help = "lowest version of TLS that callers may use",
    });
    public static readonly Flag<IReadOnlyList<TlsCipherSuite>> TlsCiphers = Add(new Flag<IReadOnlyList<TlsCipherSuite>>
    {
        Name = "server_tls_ciphers",
        Group = FlagGroup.Tls,
        Type = FlagTypes.CipherSuites,
        Default = [],
        DefaultHelp = "those of the runtime",
        Help = "cipher suites that callers may use, by their IANA names, those of TLS 1.3 included",
    });
    public static readonly Flag<IReadOnlyList<string>> ClientCaFiles = Files(
        "server_tls_client_ca_files", FlagGroup.Tls,
        "CA bundles (PEM) that client certificates must chain to; empty = clients are not asked for a certificate");
    public static readonly Flag<bool> ClientCertRequired = Switch("server_tls_client_cert_required", FlagGroup.Tls,
        "with CA files: whether clients must send a certificate; false = a certificate is optional, but must be "
        + "valid if sent",
        true);

    public static readonly Flag<Uri?> OidcProviderUrl = Url("server_oidc_provider_url", FlagGroup.Authorization,
        "issuer of the ID tokens that callers must send in Proxy-Authorization; empty = no token is required");
    public static readonly Flag<string> OidcClientId = Text("server_oidc_client_id", FlagGroup.Authorization,
        "audience that the tokens must be issued for");
    public static readonly Flag<string> OidcPermsClaim = Text("server_oidc_perms_claim", FlagGroup.Authorization,
        "claim that lists the caller's permissions; dots lead to a nested claim, such as realm_access.roles");
    public static readonly Flag<string> OidcRequiredPerm = Text("server_oidc_required_perm", FlagGroup.Authorization,
        "permission that every caller needs");
    public static readonly Flag<IReadOnlyList<string>> OidcWhitelistPerms = Texts(
        "server_oidc_whitelist_perms", FlagGroup.Authorization,
        "every caller needs at least one of these permissions, in addition to the required one if that is set");
    public static readonly Flag<bool> OidcForDebug = Switch(
        "server_enable_oidc_for_debug_endpoints", FlagGroup.Authorization,
        "debug pages require the same authorization; health, readiness and metrics stay open");
    public static readonly Flag<string> BearerToken = Add(new Flag<string>
    {
        Name = "unsafe_bearer_token_proxy_auth",
        Group = FlagGroup.Authorization,
        Type = FlagTypes.Text,
        Default = "",
        IsSecret = true,
        Help = "one static token for all callers, instead of OIDC",
    });
    public static readonly Flag<string> BearerTokenFile = File(
        "unsafe_bearer_token_proxy_auth_file",
        FlagGroup.Authorization,
        "file with that token, which keeps it out of the process list; read at the start");

    public static readonly Flag<IReadOnlyList<IPNetwork>> TrustedProxies = Add(new Flag<IReadOnlyList<IPNetwork>>
    {
        Name = "trusted_proxies",
        Group = FlagGroup.Forwarding,
        Type = FlagTypes.Networks,
        Default = [],
        Help = "networks whose X-Forwarded-* headers are trusted",
    });
    public static readonly Flag<bool> ForwardClientCert = Switch("forward_client_cert", FlagGroup.Forwarding,
        "sends backends the hash, subject and names of the caller's verified client certificate in "
        + "X-Forwarded-Client-Cert");
    public static readonly Flag<IReadOnlyList<IPEndPoint>> DnsNameservers = Add(new Flag<IReadOnlyList<IPEndPoint>>
    {
        Name = "dns_nameservers",
        Group = FlagGroup.Forwarding,
        Type = FlagTypes.Nameservers,
        Default = [],
        DefaultHelp = "from /etc/resolv.conf",
        Help = "DNS servers that resolve backends and ad-hoc names",
    });
    public static readonly Flag<TimeSpan> DnsAbsenceGrace = Duration("dns_absence_grace", FlagGroup.Forwarding, 30,
        "how long a backend keeps its endpoints while DNS answers that its name does not exist");
    public static readonly Flag<bool> AdhocAllowLoopback = Switch("adhoc_allow_loopback", FlagGroup.Forwarding,
        "lets ad-hoc rules reach loopback addresses; for trying things out only");
    public static readonly Flag<int> AdhocMaxLookups = Positive("adhoc_max_lookups", FlagGroup.Forwarding, 64, 1,
        "maximum number of ad-hoc names that are looked up at the same time; requests for further ones get 503");
    public static readonly Flag<int> NoRouteStatus = Add(new Flag<int>
    {
        Name = "no_route_status",
        Group = FlagGroup.Forwarding,
        Type = FlagTypes.ErrorStatus,
        Default = 502,
        Help = "HTTP status of the answer to a request that no route takes",
    });
    public static readonly Flag<bool> HttpConnectEnabled = Switch("http_connect_enabled", FlagGroup.Forwarding,
        "lets clients open tunnels with CONNECT to targets that an ad-hoc rule allows");
    public static readonly Flag<TimeSpan> FailedTargetBackoff = Duration(
        "lbtransport_failed_target_backoff_duration", FlagGroup.Forwarding, 2,
        "how long an endpoint that refused a connection is left out; 0 = not at all");
    public static readonly Flag<int> MaxBackendConnections =
        Positive("backend_max_connections", FlagGroup.Forwarding, 16 * 1024, 1,
        "maximum number of open connections to all backends together; beyond it, idle ones are closed to make room");
    public static readonly Flag<int> MaxEndpointConnections =
        Positive("backend_max_connections_per_endpoint", FlagGroup.Forwarding, 4 * 1024, 1,
        "maximum number of open connections to one endpoint; beyond it, requests wait for one that becomes free");
    public static readonly Flag<TimeSpan> MaxBackendWait = Duration("backend_max_wait", FlagGroup.Forwarding, 30,
        "how long a request waits for a connection to the endpoint; after that, it gets 503; "
        + "0 = no limit");
    public static readonly Flag<int> MaxResponseHeaderBytes =
        Positive("backend_max_header_bytes", FlagGroup.Forwarding, 64 * 1024, 1024,
        "maximum total size of a response's headers, and of its trailers, in bytes; larger ones are answered with 502");
    public static readonly Flag<bool> LogResolution = Switch("log_backend_resolution_on_addition", FlagGroup.Forwarding,
        "resolves each new backend once and logs its endpoints");

    public static readonly Flag<bool> DynamicRoutings = Switch("kedge_dynamic_routings_enabled", FlagGroup.Discovery,
        "adds routes and backends for labelled services of the cluster");
    public static readonly Flag<string> DiscoverySuffix = Text("discovery_external_domain_suffix", FlagGroup.Discovery,
        "external domain of generated routes; required with discovery");
    public static readonly Flag<string> DiscoveryPrefix = Text("discovery_label_annotation_prefix", FlagGroup.Discovery,
        "prefix of the label and the annotations that discovery reads", "kedge.com/");
    public static readonly Flag<string> DiscoveryHostTemplate = Text("discovery_host_template", FlagGroup.Discovery,
        "host of a generated route; {service}.{namespace}.svc.{suffix} is the other usual choice",
        "{service}.{suffix}");
    public static readonly Flag<TimeSpan> DiscoveryResync = Duration(
        "discovery_resync_timeout", FlagGroup.Discovery, 15 * 60,
        "restarts a watch of services that has been silent for this long, or for 3 minutes",
        alias: "discovery_resync_timouet");

    public static readonly Flag<Uri?> KubeApiUrl = Add(new Flag<Uri?>
    {
        Name = "k8sclient_kubeapi_url",
        Group = FlagGroup.Kubernetes,
        Type = FlagTypes.Url,
        Default = KubeApiFromEnvironment(),
        DefaultHelp = "from KUBERNETES_SERVICE_HOST and _PORT",
        Help = "URL of the API server",
    });
    public static readonly Flag<bool> KubeTlsInsecure = Switch("k8sclient_tls_insecure", FlagGroup.Kubernetes,
        "skips verification of the API server's certificate");
    public static readonly Flag<string> KubeCaFile = File("k8sclient_ca_file", FlagGroup.Kubernetes,
        "CA bundle (PEM) that the API server's certificate must chain to", $"{ServiceAccount}/ca.crt");
    public static readonly Flag<string> KubeTokenFile = File("k8sclient_token_file", FlagGroup.Kubernetes,
        "file with the bearer token for the API server, reread when it rotates",
        $"{ServiceAccount}/token",
        "k8client_token_file");
    public static readonly Flag<string> KubeConfigUser = Text("k8sclient_kubeconfig_user", FlagGroup.Kubernetes,
        "uses the credentials of this kubeconfig user instead of the token file");
    public static readonly Flag<string> KubeConfigPath = File("k8sclient_kubeconfig_path", FlagGroup.Kubernetes,
        "path of that kubeconfig file", "~/.kube/config");
    public static readonly Flag<TimeSpan> KubeAuthTimeout = Duration("k8sclient_auth_timeout", FlagGroup.Kubernetes, 10,
        "how long it may take to obtain credentials");
    public static readonly Flag<TimeSpan> KubeResolverResync = Duration(
        "k8sresolver_resync_timeout", FlagGroup.Kubernetes, 30 * 60,
        "restarts a watch of endpoints that has been silent for this long, or for 3 minutes",
        alias: "k8sresolver_resync_timouet");

    public static readonly Flag<string> KedgeService = Text("kedge_service", FlagGroup.Kubernetes,
        "service of all replicas of kedge, name.namespace or name.namespace:port; rate limits whose scale is "
        + "ALL_REPLICAS are divided by its ready endpoints");

    public static readonly Flag<LogVerbosity> LogLevel = Add(new Flag<LogVerbosity>
    {
        Name = "log_level",
        Group = FlagGroup.Logging,
        Type = FlagTypes.LogLevel,
        Default = LogVerbosity.Info,
        Help = "lowest level that is logged, in any case; also warn, trace (= debug), fatal and panic (= error)",
    });
    public static readonly Flag<LogFormat> LogFormatFlag = Add(new Flag<LogFormat>
    {
        Name = "log_format",
        Group = FlagGroup.Logging,
        Type = FlagTypes.OneOf<LogFormat>(),
        Default = LogFormat.Auto,
        DefaultHelp = "text on a terminal, otherwise json",
        Help = "format of the log lines on standard error",
    });
    public static readonly Flag<bool> AccessLog = Switch("access_log", FlagGroup.Logging,
        "logs every request, not only those that kedge fails");
    public static readonly Flag<DnsEndPoint?> LogstashHostPort = Add(new Flag<DnsEndPoint?>
    {
        Name = "logstash_hostport",
        Group = FlagGroup.Logging,
        Type = FlagTypes.HostPort,
        Default = null,
        Help = "also sends log lines as JSON over TCP to this host:port",
    });
    public static readonly Flag<IReadOnlyList<string>> LogstashTags = Texts("logstash_log_tags", FlagGroup.Logging,
        "tags of the lines sent to logstash", "kedge");
    public static readonly Flag<TimeSpan> LogstashWriteTimeout = Duration(
        "logstash_write_timeout", FlagGroup.Logging, 2,
        "how long it may take to send one line to logstash");
    public static readonly Flag<int> LogstashBufferSize = Count("logstash_write_buffer_size", FlagGroup.Logging, 5000,
        "maximum number of lines waiting to be sent to logstash; further ones are dropped and counted");

    public static readonly Flag<int> TracesPerSecond = Count("traces_per_second", FlagGroup.Tracing, 50,
        "with a collector: maximum number of traces that start at kedge per second; traces that callers sample "
        + "always continue. 0 = none. Ignored when OTEL_TRACES_SAMPLER is set");

    public static readonly Flag<TimeSpan> FlushingInterval = Duration(
        "http_reverseproxy_flushing_interval", FlagGroup.WithoutEffect, 0.01,
        "every chunk is flushed as it arrives");
    public static readonly Flag<int> BufferSizeBytes = Count(
        "http_reverseproxy_buffer_size_bytes", FlagGroup.WithoutEffect, 32 * 1024,
        "the runtime pools buffers");
    public static readonly Flag<int> BufferCount = Count(
        "http_reverseproxy_buffer_count", FlagGroup.WithoutEffect, 2 * 1024,
        "the runtime pools buffers");
    public static readonly Flag<TimeSpan> TrialDialTimeout = Duration(
        "lbtransport_trial_dial_timeout", FlagGroup.WithoutEffect, 0.5,
        "there is no trial dial; a refused connection serves the same purpose");
    public static readonly Flag<TimeSpan> FirstUpdateTimeout = Duration(
        "k8sresolver_first_update_timeout", FlagGroup.WithoutEffect, 0.3,
        "requests do not wait for the first list of endpoints", alias: "k8sresolver_first_update_timouet");
    public static readonly Flag<bool> TracingGrpc = Switch("server_tracing_grpc_enabled", FlagGroup.WithoutEffect,
        "there is no page for gRPC traces", true);

    /// <summary>In the order of the help text.</summary>
    public static IReadOnlyList<Flag> All => Flags;

    /// <summary>Flags that are accepted so that existing deployments start, and are otherwise ignored.</summary>
    public static IEnumerable<Flag> WithoutEffect => Flags.Where(flag => flag.Group == FlagGroup.WithoutEffect);

    public static IEnumerable<Flag> Of(params FlagGroup[] groups) => Flags.Where(flag => groups.Contains(flag.Group));

    private static Flag<T> Add<T>(Flag<T> flag)
    {
        Flags.Add(flag);
        return flag;
    }

    private static Flag<string> Text(string name, FlagGroup group, string help, string value = "") =>
        Add(new Flag<string> { Name = name, Group = group, Help = help, Type = FlagTypes.Text, Default = value });

    private static Flag<string> File(
        string name, FlagGroup group, string help, string value = "", string? alias = null) =>
        Add(new Flag<string>
        {
            Name = name,
            Group = group,
            Help = help,
            Type = FlagTypes.File,
            Default = value,
            Aliases = Names(alias),
        });

    private static Flag<IReadOnlyList<string>> Files(string name, FlagGroup group, string help) =>
        Add(new Flag<IReadOnlyList<string>>
        {
            Name = name,
            Group = group,
            Help = help,
            Type = FlagTypes.Files,
            Default = [],
        });

    private static Flag<IReadOnlyList<string>> Texts(
        string name, FlagGroup group, string help, params string[] values) =>
        Add(new Flag<IReadOnlyList<string>>
        {
            Name = name,
            Group = group,
            Help = help,
            Type = FlagTypes.Texts,
            Default = values,
        });

    private static Flag<bool> Switch(string name, FlagGroup group, string help, bool value = false) =>
        Add(new Flag<bool> { Name = name, Group = group, Help = help, Type = FlagTypes.Switch, Default = value });

    private static Flag<int> Port(string name, int value, string help) =>
        Add(new Flag<int>
        {
            Name = name,
            Group = FlagGroup.Listeners,
            Help = help,
            Type = FlagTypes.Port,
            Default = value,
        });

    private static Flag<int> Count(string name, FlagGroup group, int value, string help) =>
        Add(new Flag<int> { Name = name, Group = group, Help = help, Type = FlagTypes.Count, Default = value });

    private static Flag<int> Positive(string name, FlagGroup group, int value, int min, string help) =>
        Add(new Flag<int> { Name = name, Group = group, Help = help, Type = FlagTypes.AtLeast(min), Default = value });

    private static Flag<Uri?> Url(string name, FlagGroup group, string help) =>
        Add(new Flag<Uri?> { Name = name, Group = group, Help = help, Type = FlagTypes.Url, Default = null });

    private static Flag<TimeSpan> Duration(
        string name, FlagGroup group, double seconds, string help, string? alias = null) =>
        Add(new Flag<TimeSpan>
        {
            Name = name,
            Group = group,
            Help = help,
            Type = FlagTypes.Duration,
            Default = TimeSpan.FromSeconds(seconds),
            Aliases = Names(alias),
        });

    private static string[] Names(string? alias) => alias is null ? [] : [alias];

    private static Uri? KubeApiFromEnvironment()
    {
        var host = Environment.GetEnvironmentVariable("KUBERNETES_SERVICE_HOST");
        var port = Environment.GetEnvironmentVariable("KUBERNETES_SERVICE_PORT");
        if (string.IsNullOrEmpty(host))
        {
            return null;
        }
        var authority = host.Contains(':', StringComparison.Ordinal) ? $"[{host}]" : host;
        var address = $"https://{authority}:{(string.IsNullOrEmpty(port) ? "443" : port)}";
        return Uri.TryCreate(address, UriKind.Absolute, out var url) ? url : null;
    }
}
