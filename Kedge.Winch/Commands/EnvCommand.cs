using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

public enum ShellKind
{
    Bash,
    Zsh,
    Fish,
    Pwsh,
    Cmd,
}

/// <summary>Prints the settings for a shell.</summary>
public sealed class EnvCommand : ICommand
{
    private static readonly Flag<ShellKind> Shell = new()
    {
        Name = "shell",
        Group = FlagGroup.Command,
        Type = FlagTypes.OneOf<ShellKind>(),
        Default = OperatingSystem.IsWindows() ? ShellKind.Pwsh : ShellKind.Bash,
        Help = "the shell for which the variables are written",
    };

    private static readonly Flag<bool> Unset = new()
    {
        Name = "unset",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "removes the variables",
    };

    public string Name => "env";

    public string Summary => "prints the variables that make programs of a shell use winch";

    public IEnumerable<Flag> Flags =>
        [Shell, Unset, .. WinchFlags.OfFiles, WinchFlags.HttpPort, WinchFlags.ProxyCredentials];

    public IEnumerable<Flag> AcceptedFlags => WinchFlags.With(Flags);

    public string Notes =>
        "Java does not read these variables: start it with -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=8070. Sets "
        + "https_proxy only if a route has \"connect\": \"passthrough\".";

    public IReadOnlyList<string> Examples => ["eval \"$(winch env)\"", "winch env --shell=fish | source"];

    public Task<int> RunAsync(Invocation invocation)
    {
        var flags = invocation.Flags;
        foreach (var (name, value) in ProxyEnvironment.Variables(flags, flags.Get(WinchFlags.HttpPort)))
        {
            invocation.Output.WriteLine(Line(flags.Get(Shell), name, flags.Get(Unset) ? null : value));
        }
        return Task.FromResult(ExitCodes.Success);
    }

    private static string Line(ShellKind shell, string name, string? value) => (shell, value) switch
    {
        (ShellKind.Fish, null) => $"set -e {name}",
        (ShellKind.Fish, _) => $"set -gx {name} '{value}'",
        (ShellKind.Pwsh, null) => $"Remove-Item -ErrorAction Ignore Env:{name}",
        (ShellKind.Pwsh, _) => $"$Env:{name} = '{value}'",
        (ShellKind.Cmd, _) => $"set {name}={value}",
        (_, null) => $"unset {name}",
        _ => $"export {name}='{value}'",
    };
}
