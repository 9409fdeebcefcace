using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;
using Kedge.Host.Kubernetes;
using Kedge.Host.Logging;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Commands;

/// <summary>Resolves endpoints as the server would, prints them, and follows changes.</summary>
public sealed class ResolveCommand : ICommand
{
    private const int MaxQueries = 64;

    private static readonly Flag<bool> Once = new()
    {
        Name = "once",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "ends after the first answer; exits with 0, or with 1 if there are no endpoints",
    };

    public string Name => "resolve";

    public string Summary =>
        "prints the endpoints of a backend, or of a target such as web.example:80, and follows changes";

    public IReadOnlyList<string> Arguments => ["backend or target"];

    public bool TakesServerFlags => true;

    public IEnumerable<Flag> Flags =>
    [
        .. FlagCatalogue.Of(FlagGroup.Configuration),
        .. FlagCatalogue.Of(FlagGroup.Kubernetes),
        FlagCatalogue.DnsNameservers,
        FlagCatalogue.DnsAbsenceGrace,
        Once,
        FirstAnswerTimeout.Flag,
    ];

    public async Task<int> RunAsync(Invocation invocation)
    {
        string[] misuse = [.. FlagChecks.Errors(invocation.Flags)];
        if (misuse.Length > 0)
        {
            return invocation.Refuse(misuse);
        }
        var options = ConfigurationOptions.From(invocation.Flags);
        if (ConfigurationLoader.Load(options, out var errors) is not { } files)
        {
            return invocation.Refuse(errors);
        }
        var backends = Configuration.Build(files).Backends;
        var word = invocation.Arguments[0];
        var targets = ResolveTarget.Find(word, backends);
        if (targets.Count == 0)
        {
            var names = backends.Pairs.SelectMany(pair => pair.Item2).Select(backend => backend.Name);
            var suggestion = Suggestion.ClosestOrNull(names, word) is { } close ? $" (did you mean {close}?)" : "";
            return invocation.Refuse(
            [
                $"'{word}': neither a backend{suggestion} nor a target such as web.example:80, "
                    + "srv:_grpc._tcp.example or k8s:web.default:http",
            ]);
        }
        using var logging = new LogOutput(LoggingOptions.From(invocation.Flags) with { Level = LogVerbosity.Error });
        await using var cluster = new KubernetesCluster(KubernetesOptions.From(invocation.Flags), logging.Loggers);
        using var nameServers = new NameServers(invocation.Flags.Get(FlagCatalogue.DnsNameservers));
        using var queries = new SemaphoreSlim(MaxQueries);
        var resolvers = new ResolverFactory(
            new DnsLookup(nameServers, queries), invocation.Flags.Get(FlagCatalogue.DnsAbsenceGrace), cluster);
        var once = invocation.Flags.Get(Once);
        var printers = new List<EndpointPrinter>();
        using var stop = new CancellationTokenSource();
        var runs = new List<Task>();
        using var signal = new ShutdownSignal();
        foreach (var target in targets)
        {
            var resolver = resolvers.Create(target.Resolver, generated: false);
            var printer = new EndpointPrinter(target.Title, invocation.Output, invocation.Error, withTime: !once);
            printers.Add(printer);
            runs.Add(resolver.RunAsync(printer, stop.Token));
        }
        var answered = Task.WhenAll(printers.Select(printer => printer.First));
        await Task.WhenAny(
            signal.Requested, once ? answered : Task.Delay(Timeout.Infinite, stop.Token),
            Task.Delay(once ? invocation.Flags.Get(FirstAnswerTimeout.Flag) : Timeout.InfiniteTimeSpan, stop.Token));
        await stop.CancelAsync();
        await Task.WhenAll(runs).ContinueWith(static _ => { }, TaskScheduler.Default);
        if (once && !answered.IsCompleted && !signal.Requested.IsCompleted)
        {
            return await FirstAnswerTimeout.ReportAsync(invocation, "answer", cluster);
        }
        return once && !printers.TrueForAll(printer => printer.HasEndpoints) ? ExitCodes.Failure : ExitCodes.Success;
    }
}
