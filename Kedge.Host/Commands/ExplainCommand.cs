using Kedge.Domain;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;
using Microsoft.FSharp.Core;
using Listener = Kedge.Domain.Decoded.Listener;

namespace Kedge.Host.Commands;

/// <summary>Shows which rule takes a request, and why the earlier ones do not.</summary>
public sealed class ExplainCommand : ICommand
{
    private static readonly Flag<IReadOnlyList<string>> Headers = new()
    {
        Name = "header",
        Letter = 'H',
        Group = FlagGroup.Command,
        Type = FlagTypes.WholeTexts,
        Default = [],
        Help = "header of the request, 'name: value'; may be repeated. The content type application/grpc makes "
            + "the request a gRPC call",
    };

    private static readonly Flag<bool> Grpc = new()
    {
        Name = "grpc",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "treats the request as a gRPC call; the path of the URL is /package.Service/Method",
    };

    private static readonly Flag<bool> Forward = new()
    {
        Name = "forward",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "treats the request as a forward-proxy request: its target is the whole URL",
    };

    private static readonly Flag<ListenerChoice> Listening = new()
    {
        Name = "listener",
        Group = FlagGroup.Command,
        Type = FlagTypes.OneOf<ListenerChoice>(),
        Default = ListenerChoice.Auto,
        DefaultHelp = "plain for an http URL with the port of --server_http_plain_port, otherwise tls",
        Help = "the listener that the request arrives at",
    };

    private static readonly Flag<AddressOrUrl> From = new()
    {
        Name = "from",
        Group = FlagGroup.Command,
        Type = FlagTypes.AddressOrUrl,
        Default = default,
        DefaultHelp = "none",
        Help = "address of the caller: says whether the networks of the rule admit it. Or the URL of a running kedge's "
            + "debug port: explains a request that it has served, given by its X-Kedge-Request-ID, by the "
            + "configuration that routed it",
    };

    private static readonly Flag<string> ServerName = new()
    {
        Name = "sni",
        Group = FlagGroup.Command,
        Type = FlagTypes.Text,
        Default = "",
        DefaultHelp = "the host of the URL",
        Help = "with the server's certificates: the name that the client of the connection asks for; empty = none",
    };

    private static readonly Flag<string> TokenClaims = new()
    {
        Name = "token-claims",
        Group = FlagGroup.Command,
        Type = FlagTypes.Text,
        Default = "",
        DefaultHelp = "none",
        Help = "claims of the caller's token as JSON, such as {\"iss\": …, \"aud\": …}: says whether the rule and the "
            + "flags admit it",
    };

    private enum ListenerChoice
    {
        Auto,
        Tls,
        Plain,
    }

    public string Name => "explain";

    public string Summary => "shows which rule takes a request, and why each earlier rule does not";

    public string Notes =>
        "Sends nothing and looks nothing up: the proxy's own core applies the rules. With the URL of a running kedge, "
        + "it asks the debug port for one of the latest requests, and exits with 1 if it cannot explain that request. "
        + "Otherwise it exits with 0, whatever the answer is, or with 2 if the request or the configuration is "
        + "invalid.";

    public IReadOnlyList<string> Arguments => ["METHOD or request ID", "[URL]"];

    public IReadOnlyList<string> Examples =>
    [
        "kedge explain GET https://web.example.com/api/users --kedge_config_director_config_path=director.json",
        "kedge explain GET https://web.example.com/ -H 'x-env: canary' "
            + "--kedge_config_director_config_path=director.json",
        "kedge explain POST https://grpc.example.com/package.Service/Method --grpc "
            + "--kedge_config_director_config_path=director.json",
        "kedge explain GET https://web.example.com/ --token-claims "
            + "'{\"iss\":\"https://id.example.com\",\"aud\":\"kedge\"}' "
            + "--kedge_config_director_config_path=director.json",
        "kedge explain GET http://web.example.com/ --listener=plain --kedge_config_director_config_path=director.json",
        "kedge explain GET https://web.example.com/ --server_tls_cert_dirs=certs --sni=www.example.com "
            + "--kedge_config_director_config_path=director.json",
        "kedge explain GET http://pod-1.pod.cluster.local:9090/ --forward "
            + "--kedge_config_director_config_path=director.json",
        "kedge explain --from=http://localhost:8080 5d1c0a0f8f7b4c1e",
    ];

    public bool TakesServerFlags => true;

    public IEnumerable<Flag> Flags =>
    [
        Headers,
        Grpc,
        Forward,
        Listening,
        From,
        TokenClaims,
        DebugPortClient.TokenFile,
        ServerName,
        CertificateFlags.Now,
        Report.Format,
        .. FlagCatalogue.Of(FlagGroup.Configuration),
        .. CertificateFlags.OfServer,
    ];

    public Task<int> RunAsync(Invocation invocation)
    {
        var words = invocation.Arguments;
        return invocation.Flags.Get(From).Url is { } server
            ? words.Count == 1
                ? ServedRequestText.ShowAsync(invocation, server, words[0])
                : Task.FromResult(invocation.Refuse(
                    [$"{From}: with a URL, the only argument is the ID of a request that was served"]))
            : Task.FromResult(words.Count == 2 ? Run(invocation) : invocation.Refuse(["explain: <URL> is missing"]));
    }

    private static int Run(Invocation invocation)
    {
        var flags = invocation.Flags;
        List<string> errors = [.. FlagChecks.Combinations(flags)];
        var request = RequestText.tryParse(
            invocation.Arguments[0], invocation.Arguments[1], flags.Get(Headers), flags.Get(Grpc), flags.Get(Forward),
            ListenerOf(flags, invocation.Arguments[1]), out var problem);
        if (request is null)
        {
            errors.Add(problem);
        }
        if (flags.Get(ServerName) is { Length: > 0 } name && !HostName.isName(name))
        {
            errors.Add($"{ServerName}: '{name}' is not a host name");
        }
        var options = ConfigurationOptions.From(flags);
        if (options.Director.Length + options.DirectorPath.Length == 0)
        {
            errors.Add($"{FlagCatalogue.DirectorConfigPath}: is missing; there are no rules to explain");
        }
        var claims = GivenToken.Parse(flags.Get(TokenClaims), out var faulty);
        if (faulty.Length > 0)
        {
            errors.Add($"--token-claims: {faulty}");
        }
        var files = ConfigurationLoader.Load(options, out var mistakes);
        errors.AddRange(mistakes);
        if (errors.Count > 0 || request is null || files is null)
        {
            return invocation.Refuse(errors);
        }
        var withoutPool = options.Pool.Length + options.PoolPath.Length == 0;
        var configuration = Configuration.Build(files);
        var report = ExplainReport.Of(configuration, request, withoutPool, ForwardingOptions.PlainDefaultOf(flags));
        List<string> connection = flags.Get(From).Address is { } from ? [.. report.CallerLines(from)] : [];
        if (claims is { } given)
        {
            connection.AddRange(GivenToken.Lines(report, given, configuration, AuthorizationOptions.From(flags)));
        }
        connection.AddRange(CertificateLines(invocation, request));
        ExplainText.Write(invocation, configuration, report, withoutPool, connection);
        return ExitCodes.Success;
    }

    private static IReadOnlyList<string> CertificateLines(Invocation invocation, Request request)
    {
        var flags = invocation.Flags;
        if (CertificateFlags.Read(flags) is not { } read)
        {
            return [];
        }
        read.WriteProblems(invocation);
        var name = flags.IsGiven(ServerName) ? FSharpOption<string>.Some(flags.Get(ServerName)) : null;
        return [.. read.Certificates.Lines(request, name)];
    }

    private static Listener ListenerOf(FlagValues flags, string url) => flags.Get(Listening) switch
    {
        ListenerChoice.Tls => Listener.Tls,
        ListenerChoice.Plain => Listener.Plain,
        _ => !flags.Get(Forward)
            && Uri.TryCreate(url, UriKind.Absolute, out var parsed)
            && parsed.Scheme == Uri.UriSchemeHttp
            && parsed.Port == flags.Get(FlagCatalogue.HttpPlainPort)
                ? Listener.Plain
                : Listener.Tls,
    };
}
