using System.Runtime.InteropServices;

namespace Kedge.Host.Commands;

/// <summary>Waits for SIGTERM or SIGINT. The first asks the server to end; a second ends the process at once.</summary>
public sealed class ShutdownSignal : IDisposable
{
    private readonly TaskCompletionSource<PosixSignal> requested = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly PosixSignalRegistration[] registrations;

    public ShutdownSignal() => registrations =
    [
        PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle),
        PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle),
    ];

    /// <summary>Completes with the first signal.</summary>
    public Task<PosixSignal> Requested => requested.Task;

    public void Dispose()
    {
        foreach (var registration in registrations)
        {
            registration.Dispose();
        }
    }

    private void Handle(PosixSignalContext context)
    {
        context.Cancel = true;
        if (!requested.TrySetResult(context.Signal))
        {
            // As the shell reports a process that died of the signal.
            Environment.Exit(context.Signal == PosixSignal.SIGINT ? 130 : 143);
        }
    }
}
