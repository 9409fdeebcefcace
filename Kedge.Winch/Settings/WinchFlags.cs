using System.Net;
using Kedge.Client.Domain;
using Kedge.Host.Flags;

namespace Kedge.Winch.Settings;

/// <summary>
/// The flags of winch. The flags of the original keep their names, and their meaning unless it was a defect.
/// </summary>
public static class WinchFlags
{
    private static readonly List<Flag> Flags = [];

    public static readonly Flag<string> MapperPath = Add(
        FlagGroup.Configuration,
        FlagTypes.File,
        "server_mapper_config_path",
        "",
        "the mapper file (JSON): which hosts are reached through which kedge");
    public static readonly Flag<string> MapperText = Add(
        FlagGroup.Configuration,
        FlagTypes.Text,
        "server_mapper_config",
        "",
        "the mapper as JSON on the command line, instead of a file");
    public static readonly Flag<string> SourcesPath = Add(
        FlagGroup.Configuration,
        FlagTypes.File,
        "server_auth_config_path",
        "",
        "the file of auth sources (JSON): where credentials come from");
    public static readonly Flag<string> SourcesText = Add(
        FlagGroup.Configuration,
        FlagTypes.Text,
        "server_auth_config",
        "",
        "the auth sources as JSON on the command line, instead of a file",
        isSecret: true);
    public static readonly Flag<IReadOnlyList<string>> AllowedKedges = Add(
        FlagGroup.Configuration,
        FlagTypes.Texts,
        "allowed_kedges",
        [],
        "hosts (name or *.name) that a template without a fixed suffix may lead to, in addition to the mapper file's");
    public static readonly Flag<bool> UnsafeTemplates = Add(
        FlagGroup.Configuration,
        FlagTypes.Switch,
        "unsafe_kedge_templates",
        false,
        "lets templates lead to any host: a crafted host name then chooses the server that gets the credentials");

    public static readonly Flag<int> HttpPort = Add(
        FlagGroup.Listeners,
        FlagTypes.Port,
        "server_http_port",
        8070,
        "port of the proxy, the PAC and the pages; accepts HTTP/1.1, CONNECT and clear-text HTTP/2");
    public static readonly Flag<int> GrpcPort = Add(
        FlagGroup.Listeners,
        FlagTypes.Port,
        "server_grpc_port",
        8071,
        "port of the proxy without the pages, for gRPC clients that dial it; 0 = off");
    public static readonly Flag<string> ListenUnix = Add(
        FlagGroup.Listeners,
        FlagTypes.File,
        "listen_unix",
        "",
        "the path of a Unix domain socket on which the proxy listens, too; only its user can connect");
    public static readonly Flag<IPAddress> BindAddress = Add(
        FlagGroup.Listeners,
        FlagTypes.Address,
        "server_bind_address",
        IPAddress.Loopback,
        "the address of both ports; anything but loopback needs --unsafe_bind");
    public static readonly Flag<bool> UnsafeBind = Add(
        FlagGroup.Listeners,
        FlagTypes.Switch,
        "unsafe_bind",
        false,
        "allows an address that others can reach: they can then use your credentials");
    public static readonly Flag<bool> ProxyCredentials = Add(
        FlagGroup.Listeners,
        FlagTypes.Switch,
        "proxy_credentials",
        false,
        "demands the user name and password that winch env prints, so that other users of the machine cannot use it");
    public static readonly Flag<string> MonitoringAddress = Add(
        FlagGroup.Listeners,
        FlagTypes.Text,
        "server_http_monitoring_address",
        "",
        "host:port for metrics and debug pages, which are then no longer on the main port");
    public static readonly Flag<string> MetricsPath = Add(
        FlagGroup.Listeners,
        FlagTypes.Text,
        "server_metrics_path",
        "/metrics",
        "the path of the Prometheus metrics");
    public static readonly Flag<bool> QuitQuitQuit = Add(
        FlagGroup.Listeners,
        FlagTypes.Switch,
        "quitquitquit",
        false,
        "ends winch on POST /quitquitquit, for sidecars of jobs");

    public static readonly Flag<IReadOnlyList<string>> PacExpressions = Add(FlagGroup.Forwarding, FlagTypes.Texts,
        "pac_redirect_sh_expressions", [],
        "shell patterns of hosts that the PAC sends to winch; empty = what the mapper has");
    public static readonly Flag<string> PacFile = Add(FlagGroup.Forwarding, FlagTypes.File, "pac_file", "",
        "a file that winch serves as the PAC");
    public static readonly Flag<string> PacUpstream = Add(FlagGroup.Forwarding, FlagTypes.File, "pac_upstream", "",
        "a PAC file that decides for hosts that are not mapped");
    public static readonly Flag<PacFallback> PacFallback = Add(FlagGroup.Forwarding, FlagTypes.OneOf<PacFallback>(),
        "pac_fallback", Client.Domain.PacFallback.None,
        "what browsers do with mapped hosts when winch is down: none = show an error, direct = try the host itself");
    public static readonly Flag<IReadOnlyList<string>> CorsOrigins = Add(FlagGroup.Forwarding, FlagTypes.Texts,
        "cors_allowed_origin", [],
        "origins for which winch answers CORS itself; empty = services answer");

    public static readonly Flag<Uri?> UpstreamProxy = Add(FlagGroup.Forwarding, FlagTypes.Url, "upstream_proxy", null,
        "the HTTP proxy to the outside, http://[user:password@]host:port, for kedges and for hosts without a route",
        isSecret: true);
    public static readonly Flag<IReadOnlyList<string>> UpstreamNoProxy = Add(FlagGroup.Forwarding, FlagTypes.Texts,
        "upstream_no_proxy", [],
        "hosts that winch reaches without that proxy, written as in NO_PROXY; loopback always is one");

    public static readonly Flag<string> ClientCert = Add(
        FlagGroup.Tls,
        FlagTypes.File,
        "client_tls_cert_file",
        "",
        "the certificate that winch presents to kedges (PEM)");
    public static readonly Flag<string> ClientKey = Add(
        FlagGroup.Tls,
        FlagTypes.File,
        "client_tls_key_file",
        "",
        "the private key of that certificate (PEM, unencrypted)");
    public static readonly Flag<IReadOnlyList<string>> RootCas = Add(
        FlagGroup.Tls,
        FlagTypes.Files,
        "client_tls_root_ca_files",
        [],
        "CA bundles (PEM) that replace the system's roots for kedges");
    public static readonly Flag<bool> Insecure = Add(
        FlagGroup.Tls,
        FlagTypes.Switch,
        "client_insecure",
        false,
        "skips verification of the certificates of kedges");

    public static readonly Flag<TimeSpan> AuthTimeout = Add(
        FlagGroup.Authorization,
        FlagTypes.Duration,
        "server_auth_timeout",
        TimeSpan.FromSeconds(10),
        "how long an identity provider may take to answer, and a kubeconfig user's token to be there");

    public static readonly Flag<bool> DebugMode = Add(FlagGroup.Logging, FlagTypes.Switch, "debug_mode", false,
        "logs at level debug, and asks kedges to log each request");

    static WinchFlags()
    {
        Add(
            FlagGroup.WithoutEffect,
            FlagTypes.Duration,
            "server_http_max_write_timeout",
            TimeSpan.FromSeconds(15),
            "streams have no limit");
        Add(
            FlagGroup.WithoutEffect,
            FlagTypes.Duration,
            "server_http_max_read_timeout",
            TimeSpan.FromSeconds(15),
            "streams have no limit");
        Add(
            FlagGroup.WithoutEffect,
            FlagTypes.Count,
            "winch_reverseproxy_buffer_size_bytes",
            32768,
            "the runtime pools buffers");
        Add(
            FlagGroup.WithoutEffect,
            FlagTypes.Count,
            "winch_reverseproxy_buffer_count",
            2048,
            "the runtime pools buffers");
        Add(
            FlagGroup.WithoutEffect,
            FlagTypes.Duration,
            "winch_reverseproxy_flushing_interval",
            TimeSpan.FromMilliseconds(10),
            "every chunk is flushed as it arrives");
    }

    /// <summary>The flags that the proxy accepts, in the order of the help text.</summary>
    public static IReadOnlyList<Flag> All => [.. Flags, FlagCatalogue.LogLevel, FlagCatalogue.LogFormatFlag];

    /// <summary>
    /// A command's own flags and the proxy's flags, so that the command accepts the proxy's command line.
    /// </summary>
    public static IEnumerable<Flag> With(IEnumerable<Flag> flags) => flags.Concat(All).Distinct();

    /// <summary>The flags of commands that read the files.</summary>
    public static IEnumerable<Flag> OfFiles => Flags.Where(flag => flag.Group is FlagGroup.Configuration);

    /// <summary>The flags of commands that use a source or talk to a running winch.</summary>
    public static IEnumerable<Flag> OfSources => [SourcesPath, SourcesText, HttpPort, AuthTimeout];

    /// <summary>The flags that determine the PAC.</summary>
    public static IEnumerable<Flag> OfPac => [.. OfFiles, HttpPort, PacExpressions, PacFile, PacUpstream, PacFallback];

    private static Flag<T> Add<T>(
        FlagGroup group,
        FlagType<T> type,
        string name,
        T value,
        string help,
        bool isSecret = false)
    {
        var flag = new Flag<T>
        {
            Name = name,
            Group = group,
            Type = type,
            Default = value,
            Help = help,
            IsSecret = isSecret,
        };
        Flags.Add(flag);
        return flag;
    }
}
