using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kedge.Client.Domain;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Host.Logging;
using Kedge.Winch.Proxying;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>The variables that make programs use winch.</summary>
internal static class ProxyEnvironment
{
    /// <param name="port">Of winch.</param>
    /// <param name="takesConnect">Whether some route takes TLS, so that https URLs may go to winch.</param>
    /// <param name="password">That winch asks for; null = none.</param>
    public static IReadOnlyList<(string Name, string Value)> Variables(int port, bool takesConnect, string? password)
    {
        var proxy = password is null ? $"http://127.0.0.1:{port}" : $"http://{ClientCredentials.User}:{password}@127.0.0.1:{port}";
        const string own = "localhost,127.0.0.1,::1";
        List<(string, string)> variables =
        [
            // curl takes the lower-case name only, others the upper-case one.
            ("http_proxy", proxy), ("HTTP_PROXY", proxy), ("grpc_proxy", proxy), ("no_proxy", own), ("NO_PROXY", own), ("NODE_USE_ENV_PROXY", "1"),
        ];
        if (takesConnect)
        {
            variables.AddRange([("https_proxy", proxy), ("HTTPS_PROXY", proxy)]);
        }
        return variables;
    }

    public static IReadOnlyList<(string Name, string Value)> Variables(FlagValues flags, int port) => Variables(
        port,
        WinchSetup.Load(flags, out _)?.Mapper.Routes.Any(route => route.TakesConnect) ?? false,
        flags.Get(WinchFlags.ProxyCredentials) ? RunCommand.Password() : null);
}

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
        Help = "the shell that is to read them",
    };

    private static readonly Flag<bool> Unset = new()
    {
        Name = "unset",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "removes them",
    };

    public string Name => "env";

    public string Summary => "prints the variables that make programs of a shell use winch";

    public IEnumerable<Flag> Flags => [Shell, Unset, .. WinchFlags.OfFiles, WinchFlags.HttpPort, WinchFlags.ProxyCredentials];

    public string Notes =>
        "Java reads no such variables: -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=8070. https_proxy is set only when a route has connect: passthrough.";

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

/// <summary>Runs one command that uses winch.</summary>
public sealed class ExecCommand : ICommand
{
    public string Name => "exec";

    public string Summary => "runs a command whose requests go through winch; starts one for it when none runs";

    public IEnumerable<Flag> Flags => WinchFlags.All;

    public IReadOnlyList<string> Arguments => ["command…"];

    public string Notes => "The exit code is the command's; 127 when it cannot be started.";

    public IReadOnlyList<string> Examples => ["winch exec --server_mapper_config_path=winch_mapper.json -- curl http://svc.ns.prod.example/"];

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (invocation.Arguments.Count == 0)
        {
            return invocation.Refuse(["exec: the command is missing: winch exec -- <command>"]);
        }
        var flags = invocation.Flags;
        var port = flags.Get(WinchFlags.HttpPort);
        if (await WinchClient.TryGetAsync(port, "/winch/status") is not null)
        {
            return await RunAsync(invocation, port);
        }
        if (WinchSetup.Load(flags, out var errors) is not { } files)
        {
            return invocation.Refuse(errors);
        }
        using var logging = new LogOutput(LoggingOptions.From(flags) with { Level = LogVerbosity.Warning });
        WinchServer server;
        try
        {
            server = new(flags, files, new ClientCredentials(flags.Get(WinchFlags.ProxyCredentials) ? RunCommand.Password() : null), logging.Loggers, static () => { })
            {
                IsEphemeral = true,
            };
        }
        catch (FormatException e)
        {
            return invocation.Refuse([e.Message]);
        }
        await using (server)
        {
            await server.StartAsync();
            return await RunAsync(invocation, server.HttpPort);
        }
    }

    private static async Task<int> RunAsync(Invocation invocation, int port)
    {
        var info = new ProcessStartInfo(invocation.Arguments[0], [.. invocation.Arguments.Skip(1)]);
        foreach (var (name, value) in ProxyEnvironment.Variables(invocation.Flags, port))
        {
            info.Environment[name] = value;
        }
        try
        {
            using var process = Process.Start(info)!;
            await process.WaitForExitAsync();
            return process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            invocation.Error.WriteLine($"winch: {invocation.Arguments[0]}: {e.Message}");
            return 127;
        }
    }
}

/// <summary>Prints what the running winch does.</summary>
public sealed class StatusCommand : ICommand
{
    public string Name => "status";

    public string Summary => "prints the state of the running winch: its auth sources and what is wrong";

    public IEnumerable<Flag> Flags => [Report.Format, WinchFlags.HttpPort];

    public string Notes => "Exit codes: 0 when winch runs, 1 when it does not, 2 for a usage error.";

    public async Task<int> RunAsync(Invocation invocation)
    {
        var port = invocation.Flags.Get(WinchFlags.HttpPort);
        if (await WinchClient.TryGetAsync(port, "/winch/status") is not { } text || JsonNode.Parse(text) is not JsonObject status)
        {
            invocation.Error.WriteLine($"winch: no winch answers on port {port}");
            return ExitCodes.Failure;
        }
        if (Report.IsJson(invocation))
        {
            invocation.Output.WriteLine(status.ToJsonString(new JsonSerializerOptions { WriteIndented = true }));
            return ExitCodes.Success;
        }
        invocation.Output.WriteLine($"winch {status["version"]} on port {port}, {status["routes"]} routes, PAC {status["pac"]}");
        foreach (var error in (status["errors"] as JsonArray)!)
        {
            invocation.Output.WriteLine($"rejected: {error}");
        }
        foreach (var source in (status["sources"] as JsonArray)!)
        {
            var state = source!["expires"] is { } end ? $"valid until {end}" : source["problem"] is { } problem ? $"{problem}" : "ready";
            invocation.Output.WriteLine($"{source["name"]}: {state}");
        }
        return ExitCodes.Success;
    }
}
