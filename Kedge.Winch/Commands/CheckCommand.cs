using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>Checks the files.</summary>
public sealed class CheckCommand : ICommand
{
    private static readonly Flag<bool> Strict = new()
    {
        Name = "strict",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "treats warnings as errors",
    };

    public string Name => "check";

    public string Summary => "checks the files and flags, and points out what is probably a mistake";

    public IEnumerable<Flag> Flags => [Strict, .. WinchFlags.OfFiles];

    public IEnumerable<Flag> AcceptedFlags => WinchFlags.With(Flags);

    public string Notes => "Exits with 0 if the files are good, with 1 if they are not, and with 2 for a usage error.";

    public IReadOnlyList<string> Examples => ["winch check --server_mapper_config_path=winch_mapper.json"];

    public Task<int> RunAsync(Invocation invocation)
    {
        var files = WinchSetup.Load(invocation.Flags, out var errors);
        List<string> all = [.. WinchChecks.Errors(invocation.Flags), .. errors];
        if (files is not null && WinchSetup.Pac(invocation.Flags, files.Mapper, "", out var problem) is null)
        {
            all.Add(problem);
        }
        if (files is null || all.Count > 0)
        {
            foreach (var error in all)
            {
                invocation.Output.WriteLine($"error: {error}");
            }
            return Task.FromResult(ExitCodes.Failure);
        }
        foreach (var warning in files.Warnings)
        {
            invocation.Output.WriteLine($"warning: {warning}");
        }
        invocation.Output.WriteLine(
            $"{files.Mapper.Routes.Count} routes, {files.Sources.Count} auth sources, {files.Warnings.Count} warnings");
        var isGood = files.Warnings.Count == 0 || !invocation.Flags.Get(Strict);
        return Task.FromResult(isGood ? ExitCodes.Success : ExitCodes.Failure);
    }
}
