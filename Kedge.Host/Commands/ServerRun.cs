using Kedge.Host.Listeners;
using Kedge.Host.Server;

namespace Kedge.Host.Commands;

/// <summary>Runs a server until a signal ends it.</summary>
public static class ServerRun
{
    // Added to the drain time for releasing resources: nothing that hangs may keep the process alive.
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(5);
    private static Timer? _overdue;

    /// <param name="server">Not yet started.</param>
    /// <param name="logger">Logs a failed start and the signal.</param>
    /// <param name="started">Called when the listeners are open.</param>
    /// <returns>The exit code.</returns>
    public static async Task<int> UntilSignalAsync(KedgeServer server, ILogger logger, Action? started = null)
    {
        using var signal = new ShutdownSignal();
        try
        {
            await server.StartAsync();
        }
        catch (ListenFailedException e)
        {
            logger.LogError("{Problem}", e.Message);
            return ExitCodes.Failure;
        }
        if (PlatformNote.Text is { } note)
        {
            logger.LogWarning("{Note}", note);
        }
        started?.Invoke();
        var received = await signal.Requested;
        logger.LogInformation("received {Signal}", received);
        _overdue = new Timer(
            static _ => Environment.Exit(ExitCodes.Success), null, server.DrainTime + Grace, Timeout.InfiniteTimeSpan);
        await server.DrainAsync();
        return ExitCodes.Success;
    }
}
