using Kedge.Domain.Discovery;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;
using Kedge.Host.Kubernetes;
using Kedge.Host.Logging;

namespace Kedge.Host.Commands;

/// <summary>Prints the configuration that discovery generates from a cluster's services, and follows changes.</summary>
public sealed class DiscoverCommand : ICommand
{
    private static readonly Flag<bool> Once = new()
    {
        Name = "once",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "ends after the first complete list; exits with 1 if the API server does not provide one",
    };

    public string Name => "discover";

    public string Summary => "prints the configuration that discovery generates from a cluster, and follows changes";

    public bool TakesServerFlags => true;

    public IEnumerable<Flag> Flags =>
    [
        .. FlagCatalogue.Of(FlagGroup.Discovery),
        .. FlagCatalogue.Of(FlagGroup.Kubernetes),
        .. FlagCatalogue.Of(FlagGroup.Configuration),
        Once,
        FirstAnswerTimeout.Flag,
    ];

    public string Notes =>
        "Prints what the server would add to its own two files. Comments list what cannot be used: conflicts, "
        + "quarantined services and ignored ports. Routes in the files that the configuration flags name take "
        + "precedence, as they do in the server.";

    public IReadOnlyList<string> Examples =>
        ["kedge discover --once --discovery_external_domain_suffix=ext.example.com"];

    public async Task<int> RunAsync(Invocation invocation)
    {
        string[] misuse =
        [
            .. FlagChecks.OfDiscovery(invocation.Flags),
            .. FlagChecks.Errors(invocation.Flags),
        ];
        var discovery = ServiceDiscoveryOptions.From(invocation.Flags);
        if (misuse.Length > 0 || discovery.TryResolve(out _) is not { } options)
        {
            return invocation.Refuse(misuse.Distinct());
        }
        if (ConfigurationLoader.Load(ConfigurationOptions.From(invocation.Flags), out var errors) is not { } files)
        {
            return invocation.Refuse(errors);
        }
        using var signal = new ShutdownSignal();
        using var logging = new LogOutput(LoggingOptions.From(invocation.Flags));
        await using var cluster = new KubernetesCluster(KubernetesOptions.From(invocation.Flags), logging.Loggers);
        var source = cluster.Discover(options, discovery.ResyncTimeout);
        var first = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Generated? printed = null;
        source.Changed += () =>
        {
            var generated = source.Generate(files);
            if (!ReferenceEquals(generated, printed))
            {
                printed = generated;
                invocation.Output.Write(DiscoveryText.render(generated));
                invocation.Output.Flush();
            }
            first.TrySetResult();
        };
        if (!invocation.Flags.Get(Once))
        {
            await signal.Requested;
            return ExitCodes.Success;
        }
        await Task.WhenAny(first.Task, signal.Requested, Task.Delay(invocation.Flags.Get(FirstAnswerTimeout.Flag)));
        return first.Task.IsCompleted
            ? ExitCodes.Success
            : await FirstAnswerTimeout.ReportAsync(invocation, "list of services", cluster);
    }
}
