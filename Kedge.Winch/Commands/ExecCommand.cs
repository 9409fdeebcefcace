using System.Diagnostics;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Host.Logging;
using Kedge.Winch.Proxying;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>Runs one command that uses winch.</summary>
public sealed class ExecCommand : ICommand
{
    public string Name => "exec";

    public string Summary => "runs a command whose requests go through winch; starts a winch for it if none is running";

    public IEnumerable<Flag> Flags => WinchFlags.All;

    public IReadOnlyList<string> Arguments => ["command…"];

    public string Notes => "Exits with the exit code of the command, or with 127 if it cannot be started.";

    public IReadOnlyList<string> Examples =>
        ["winch exec --server_mapper_config_path=winch_mapper.json -- curl http://svc.ns.prod.example/"];

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
            server = new(
                flags,
                files,
                new ClientCredentials(flags.Get(WinchFlags.ProxyCredentials) ? RunCommand.Password() : null),
                logging.Loggers,
                static () => { },
                isEphemeral: true);
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
