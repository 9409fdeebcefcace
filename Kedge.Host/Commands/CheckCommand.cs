using Kedge.Host.ConfigurationFiles;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>Decodes and validates the configuration, and tells what in it cannot be meant.</summary>
public sealed class CheckCommand : ICommand
{
    private const int OnlyWarnings = 2;

    private static readonly Flag<bool> Strict = new()
    {
        Name = "strict",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "exits with 2 when there are warnings",
    };

    public string Name => "check";

    public string Summary => "checks the two configuration files: exits with 0 (clean) or 1 (errors)";

    public IEnumerable<Flag> Flags => [.. FlagCatalogue.Of(FlagGroup.Configuration), Strict];

    public Task<int> RunAsync(Invocation invocation) => Task.FromResult(Run(invocation));

    private static int Run(Invocation invocation)
    {
        if (FlagChecks.Sources(invocation.Flags).ToArray() is { Length: > 0 } misuse)
        {
            return invocation.Refuse(misuse);
        }
        var configuration = ConfigurationLoader.Load(ConfigurationOptions.From(invocation.Flags), out var errors);
        if (configuration is null)
        {
            foreach (var error in errors)
            {
                invocation.Output.WriteLine(error);
            }
            return ExitCodes.Failure;
        }
        var warnings = ConfigurationWarnings.Of(configuration).ToArray();
        foreach (var warning in warnings)
        {
            invocation.Output.WriteLine($"{warning} (warning)");
        }
        invocation.Output.WriteLine(
            $"{configuration.HttpRoutes.Count} HTTP routes, {configuration.GrpcRoutes.Count} gRPC routes, "
            + $"{configuration.HttpBackends.Count} HTTP backends, {configuration.GrpcBackends.Count} gRPC backends: "
            + (warnings.Length == 0 ? "no error" : $"no error, {warnings.Length} warnings"));
        return warnings.Length > 0 && invocation.Flags.Get(Strict) ? OnlyWarnings : ExitCodes.Success;
    }
}
