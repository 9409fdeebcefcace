using Kedge.Domain;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;
using Kedge.Host.Listeners;

namespace Kedge.Host.Commands;

/// <summary>Shows what a new configuration changes for requests.</summary>
public sealed class DiffCommand : ICommand
{
    private static readonly Flag<bool> ExitCode = new()
    {
        Name = "exit_code",
        Aliases = ["exit-code"],
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "exits with 1 if there are differences",
    };

    private static readonly Flag<DeniedChange> Deny = new()
    {
        Name = "deny",
        Group = FlagGroup.Command,
        Type = FlagTypes.OneOf<DeniedChange>(),
        Default = DeniedChange.None,
        Help = "exits with 1 if a route admits callers whom the old configuration did not admit",
    };

    private enum DeniedChange
    {
        None,
        Loosened,
    }

    private static readonly Flag<string> OldPoolPath = new()
    {
        Name = "old_backendpool_config_path",
        Group = FlagGroup.Command,
        Type = FlagTypes.File,
        Default = "",
        Help = "backend pool of the old configuration, if it differs; backends are then compared as well",
    };

    public string Name => "diff";

    public string Summary => "shows what a new director.json changes, with requests that now go elsewhere";

    public string Notes =>
        "Compares meaning, not text: a new order that moves no request is not a difference. "
        + "Exits with 0, with 2 if a configuration is invalid, with --exit_code with 1 if there are differences, and "
        + "with --deny=loosened with 1 if access is loosened.";

    public IReadOnlyList<string> Arguments => ["old director.json", "new director.json"];

    public IReadOnlyList<string> Examples =>
    [
        "kedge diff old/director.json new/director.json",
        "kedge diff --exit_code --output=json old/director.json new/director.json",
        "kedge diff --deny=loosened old/director.json new/director.json",
        "kedge diff old/director.json new/director.json --old_backendpool_config_path=old/backendpool.json "
            + "--kedge_config_backendpool_config_path=new/backendpool.json",
    ];

    public bool TakesServerFlags => true;

    public IEnumerable<Flag> Flags =>
        [ExitCode, Deny, Report.Format, OldPoolPath, FlagCatalogue.PoolConfigPath, FlagCatalogue.PoolConfig];

    public Task<int> RunAsync(Invocation invocation) => Task.FromResult(Run(invocation));

    private static int Run(Invocation invocation)
    {
        var flags = invocation.Flags;
        var pool = ConfigurationOptions.From(flags);
        var oldPool = flags.Get(OldPoolPath) is { Length: > 0 } path ? pool with { Pool = "", PoolPath = path } : pool;
        List<string> errors = [.. FlagChecks.Combinations(flags)];
        var before = Load(oldPool, invocation.Arguments[0], errors);
        var after = Load(pool, invocation.Arguments[1], errors);
        if (errors.Count > 0 || before is null || after is null)
        {
            return invocation.Refuse(errors.Distinct());
        }
        var differences = DiffReport.Differences(before, after);
        if (Report.IsJson(invocation))
        {
            WriteJson(invocation.Output, differences);
        }
        else
        {
            WriteText(invocation.Output, invocation.Paint, differences);
        }
        var isDenied = flags.Get(Deny) == DeniedChange.Loosened
            && differences.Any(static difference => difference.Kind == "access-loosened");
        return isDenied || (differences.Count > 0 && flags.Get(ExitCode)) ? ExitCodes.Failure : ExitCodes.Success;
    }

    private static Configuration? Load(ConfigurationOptions pool, string directorPath, List<string> errors)
    {
        var options = pool with { Director = "", DirectorPath = directorPath };
        var files = ConfigurationLoader.Load(options, out var mistakes);
        errors.AddRange(mistakes);
        return files is null ? null : Configuration.Build(files);
    }

    private static void WriteText(TextWriter output, Paint paint, IReadOnlyList<Difference> differences)
    {
        foreach (var difference in differences)
        {
            output.WriteLine(difference.Kind);
            if (difference.Before.Length > 0)
            {
                output.WriteLine(paint.Red($"  - {difference.Before}"));
            }
            if (difference.After.Length > 0)
            {
                output.WriteLine(paint.Green($"  + {difference.After}"));
            }
            if (difference.Witness.Length > 0)
            {
                output.WriteLine($"    {difference.Witness}");
            }
            if (difference.Caller.Length > 0)
            {
                output.WriteLine(paint.Faint(
                    $"      {difference.Caller}: {difference.WitnessBefore} → {difference.WitnessAfter}"));
            }
            else if (difference.Witness.Length > 0)
            {
                output.WriteLine(paint.Faint($"      went to {difference.WitnessBefore}"));
                output.WriteLine(paint.Faint($"      goes to {difference.WitnessAfter}"));
            }
        }
        var moving = differences.Count(difference => difference is { Witness.Length: > 0, Caller.Length: 0 });
        output.WriteLine(
            differences.Count == 0 ? paint.Green("no difference")
            : $"{differences.Count} difference{(differences.Count == 1 ? "" : "s")}, "
                + $"{moving} with requests that go elsewhere");
    }

    private static void WriteJson(TextWriter output, IReadOnlyList<Difference> differences) =>
        Report.WriteJson(output, new
        {
            Differences = differences.Select(difference => new
            {
                difference.Kind,
                Before = Text(difference.Before),
                After = Text(difference.After),
                Request = Text(difference.Witness),
                RequestBefore = Text(difference.WitnessBefore),
                RequestAfter = Text(difference.WitnessAfter),
                Caller = Text(difference.Caller),
            }),
        });

    private static string? Text(string text) => text.Length == 0 ? null : text;
}
