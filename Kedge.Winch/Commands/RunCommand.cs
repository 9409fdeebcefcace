using System.Security.Cryptography;
using Kedge.Client.Domain;
using Kedge.Host.Commands;
using Kedge.Host.Flags;
using Kedge.Host.Listeners;
using Kedge.Host.Logging;
using Kedge.Winch.Proxying;
using Kedge.Winch.Settings;
using Kedge.Winch.Sources;

namespace Kedge.Winch.Commands;

/// <summary>Runs the proxy until a signal ends it.</summary>
public sealed class RunCommand : ICommand
{
    public string Name => "run";

    public string Summary => "runs the proxy";

    public IEnumerable<Flag> Flags => WinchFlags.All;

    public string Notes =>
        "Reads the files again when they change. Exits with 0 after SIGTERM or SIGINT, with 1 if a port cannot be "
        + "opened, and with 2 if a flag or a file is wrong.";

    public IReadOnlyList<string> Examples =>
        ["winch --server_mapper_config_path=winch_mapper.json --server_auth_config_path=winch_auth.json"];

    public async Task<int> RunAsync(Invocation invocation)
    {
        if (WinchChecks.Errors(invocation.Flags) is { Count: > 0 } problems)
        {
            return invocation.Refuse(problems);
        }
        if (WinchSetup.Load(invocation.Flags, out var errors) is not { } files)
        {
            return invocation.Refuse(errors);
        }
        return await UntilSignalAsync(invocation, files, _ => Task.CompletedTask);
    }

    /// <summary>Runs a proxy, and a callback once it is up.</summary>
    internal static async Task<int> UntilSignalAsync(
        Invocation invocation,
        ClientFiles files,
        Func<WinchServer, Task> started,
        bool isEphemeral = false)
    {
        var flags = invocation.Flags;
        var options = LoggingOptions.From(flags);
        using var logging = new LogOutput(
            flags.Get(WinchFlags.DebugMode) ? options with { Level = LogVerbosity.Debug } : options);
        using var signal = new ShutdownSignal();
        var quit = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var credentials = new ClientCredentials(flags.Get(WinchFlags.ProxyCredentials) ? Password() : null);
        WinchServer server;
        try
        {
            server = new(flags, files, credentials, logging.Loggers, () => quit.TrySetResult(), isEphemeral);
        }
        catch (FormatException e)
        {
            return invocation.Refuse([e.Message]);
        }
        await using (server)
        {
            try
            {
                await server.StartAsync();
            }
            catch (Exception e) when (e is ListenFailedException || e is IOException && e.InnerException is not null)
            {
                logging.Loggers.CreateLogger("winch").LogError("{Problem}", e.Message);
                return ExitCodes.Failure;
            }
            await started(server);
            await Task.WhenAny(signal.Requested, quit.Task);
        }
        return ExitCodes.Success;
    }

    /// <summary>The password of this user's winch, stored so that settings that contain it stay valid.</summary>
    internal static string Password()
    {
        var store = new FileStore("", "proxy-credentials");
        if (store.Read()?.AccessToken is { Length: > 0 } kept)
        {
            return kept;
        }
        var made = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(20));
        store.Write(new StoredTokens(made, null, "", ""));
        return made;
    }
}
