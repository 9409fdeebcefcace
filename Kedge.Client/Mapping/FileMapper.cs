using Kedge.Client.Domain;
using Kedge.Client.Domain.Decoded;
using Kedge.Domain;

namespace Kedge.Client;

/// <summary>Maps hosts as a mapper file defines (docs/client-library.md).</summary>
public sealed class FileMapper : IKedgeMapper
{
    private readonly IReadOnlyDictionary<string, ITokenSource> _sources;
    private readonly KedgeTls _tls;
    private readonly KedgeTls[] _tlsByRoute;

    /// <param name="files">The loaded, valid files.</param>
    /// <param name="sources">
    /// The sources, by name, that the routes' <c>proxy_auth</c> and <c>backend_auth</c> refer to. Client certificates
    /// need no source.
    /// </param>
    /// <param name="tls">TLS for routes that do not configure it; null = the system's roots.</param>
    public FileMapper(ClientFiles files, IReadOnlyDictionary<string, ITokenSource> sources, KedgeTls? tls = null)
    {
        ArgumentNullException.ThrowIfNull(files);
        Files = files;
        _sources = sources;
        _tls = tls ?? KedgeTls.Default;
        _tlsByRoute = [.. files.Mapper.Routes.Select(TlsOf)];
    }

    /// <summary>The files that the mapper was created from.</summary>
    public ClientFiles Files { get; }

    /// <summary>
    /// Reads a mapper file, and a file of auth sources whose kinds need no login: token, dummy, env, file, exec and
    /// client_certificate.
    /// </summary>
    /// <param name="mapperPath">The mapper file.</param>
    /// <param name="sourcesPath">The file of auth sources; null = the routes name none.</param>
    /// <exception cref="FormatException">A file is wrong; the message has a line for each error.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static FileMapper Read(string mapperPath, string? sourcesPath = null)
    {
        var loaded = ClientFiles.Load(
            mapperPath,
            File.ReadAllBytes(mapperPath),
            sourcesPath ?? "",
            sourcesPath is null ? default : File.ReadAllBytes(sourcesPath),
            MapperOptions.Default);
        var files = loaded.Value ?? throw new FormatException(string.Join('\n', loaded.Errors));
        return new FileMapper(files, SimpleSources(files));
    }

    /// <inheritdoc/>
    public KedgeRoute? Map(string host, int port, Protocol protocol)
    {
        if (!Target.TryCreate(host, port, out var target))
        {
            return null;
        }
        return Files.Mapper.Decide(protocol, target) switch
        {
            Decision.Kedge kedge => RouteTo(kedge.route, kedge.kedge),
            Decision.BadMapping bad => throw BadMapping(target, bad),
            _ when Files.Mapper.RefusesUnmapped => throw new KedgeException(
                KedgeFailure.NotAKedgeDestination, $"{target.Authority} is not a kedge destination"),
            _ => null,
        };
    }

    /// <summary>The route to a kedge, with its credentials.</summary>
    public KedgeRoute RouteTo(Route route, KedgeAddress kedge)
    {
        ArgumentNullException.ThrowIfNull(route);
        ArgumentNullException.ThrowIfNull(kedge);
        return new KedgeRoute(new Uri(kedge.Url))
        {
            ProxyAuth = _sources.GetValueOrDefault(route.ProxyAuth),
            BackendAuth = _sources.GetValueOrDefault(route.BackendAuth),
            Tls = _tlsByRoute[route.Index],
            Timeout = route.Timeout > TimeSpan.Zero ? route.Timeout : null,
            Headers = route.Headers,
        };
    }

    internal static KedgeException BadMapping(Target target, Decision.BadMapping bad) =>
        new(KedgeFailure.BadMapping, $"{target.Authority}: routes[{bad.route.Index}] leads nowhere: {bad.reason}");

    private KedgeTls TlsOf(Route route)
    {
        var own = route.Tls;
        var tls = new KedgeTls
        {
            CaFiles = own.CaFiles.IsEmpty ? _tls.CaFiles : [.. own.CaFiles],
            ClientCertFile = own.ClientCertFile.Length > 0 ? own.ClientCertFile : _tls.ClientCertFile,
            ClientKeyFile = own.ClientCertFile.Length > 0 ? own.ClientKeyFile : _tls.ClientKeyFile,
            ServerName = own.ServerName.Length > 0 ? own.ServerName : _tls.ServerName,
            Insecure = own.Insecure || _tls.Insecure,
        };
        var proxyAuth = Files.Sources.FirstOrDefault(source => source.Name == route.ProxyAuth)?.Kind;
        return proxyAuth is SourceKind.ClientCertificate certificate
            ? tls with { ClientCertFile = certificate.certFile, ClientKeyFile = certificate.keyFile }
            : tls;
    }

    private static Dictionary<string, ITokenSource> SimpleSources(ClientFiles files)
    {
        var sources = new Dictionary<string, ITokenSource>();
        foreach (var source in files.Sources)
        {
            if (source.Kind is SourceKind.ClientCertificate)
            {
                continue;
            }
            sources[source.Name] = Simple(source)
                ?? throw new FormatException($"auth source {source.Name}: this kind is available in winch only");
        }
        return sources;
    }

    /// <summary>The source of a kind that needs no login; null for other kinds.</summary>
    internal static ITokenSource? Simple(AuthSource source) => source.Kind switch
    {
        SourceKind.Token token => TokenSources.Static(source.Name, token.token),
        SourceKind.Dummy { value.Length: > 0 } dummy => TokenSources.Static(source.Name, dummy.value),
        SourceKind.Dummy => new NoToken(source.Name),
        SourceKind.Environment environment => TokenSources.Environment(source.Name, environment.name),
        SourceKind.File file => TokenSources.File(source.Name, file.path),
        SourceKind.Exec { Item: var exec } => TokenSources.Exec(
            source.Name,
            exec.Command,
            [.. exec.Args],
            exec.Environment,
            exec.Timeout > TimeSpan.Zero ? exec.Timeout : TimeSpan.FromSeconds(30)),
        _ => null,
    };

    private sealed class NoToken(string name) : ITokenSource
    {
        public string Name { get; } = name;

        public ValueTask<AuthToken> GetTokenAsync(CancellationToken cancel) =>
            throw new TokenException(Name, "the dummy has no value");
    }
}
