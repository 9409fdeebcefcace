using Kedge.Domain;
using Kedge.Host.ConfigurationFiles;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>Tells which rule takes a request, and why those before it do not.</summary>
public sealed class ExplainCommand : ICommand
{
    private static readonly Flag<IReadOnlyList<string>> Headers = new()
    {
        Name = "header",
        Letter = 'H',
        Group = FlagGroup.Command,
        Type = FlagTypes.WholeTexts,
        Default = [],
        Help = "a header of the request, 'name: value'; may be repeated. The content type application/grpc makes a gRPC call",
    };

    private static readonly Flag<bool> Grpc = new()
    {
        Name = "grpc",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "the request is a gRPC call; the URL's path is /package.Service/Method",
    };

    private static readonly Flag<bool> Forward = new()
    {
        Name = "forward",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "the request is a forward-proxy request: the URL as a whole is its target",
    };

    public string Name => "explain";

    public string Summary => "tells which rule takes a request, and for each rule before it why it does not";

    public string Notes =>
        "Nothing is sent and nothing is looked up: the rules are read and the proxy's own core decides. "
        + "Exits with 0 when the answer is known, whatever it is, and with 2 when the request or the configuration is wrong.";

    public IReadOnlyList<string> Arguments => ["METHOD", "URL"];

    public IReadOnlyList<string> Examples =>
    [
        "kedge explain GET https://web.example.com/api/users --kedge_config_director_config_path=director.json",
        "kedge explain GET https://web.example.com/ -H 'x-env: canary' --kedge_config_director_config_path=director.json",
        "kedge explain POST https://grpc.example.com/package.Service/Method --grpc --kedge_config_director_config_path=director.json",
        "kedge explain GET http://pod-1.pod.cluster.local:9090/ --forward --kedge_config_director_config_path=director.json",
    ];

    public IEnumerable<Flag> Flags => [Headers, Grpc, Forward, Report.Format, .. FlagCatalogue.Of(FlagGroup.Configuration)];

    public Task<int> RunAsync(Invocation invocation) => Task.FromResult(Run(invocation));

    private static int Run(Invocation invocation)
    {
        var flags = invocation.Flags;
        List<string> errors = [.. FlagChecks.Sources(flags)];
        var request = RequestText.tryParse(
            invocation.Arguments[0], invocation.Arguments[1], flags.Get(Headers), flags.Get(Grpc), flags.Get(Forward),
            out var problem);
        if (request is null)
        {
            errors.Add(problem);
        }
        var options = ConfigurationOptions.From(flags);
        if (options.Director.Length + options.DirectorPath.Length == 0)
        {
            errors.Add($"{FlagCatalogue.DirectorConfigPath}: is missing: there are no rules to explain");
        }
        var configuration = ConfigurationLoader.Load(options, out var mistakes);
        errors.AddRange(mistakes);
        if (errors.Count > 0 || request is null || configuration is null)
        {
            return invocation.Refuse(errors);
        }
        var withoutPool = options.Pool.Length + options.PoolPath.Length == 0;
        ExplainText.Write(invocation, configuration, ExplainReport.Of(configuration, request, withoutPool), withoutPool);
        return ExitCodes.Success;
    }
}
