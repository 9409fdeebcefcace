using System.Runtime.InteropServices;

namespace Kedge.Host.Commands;

/// <summary>Signals whose default is to end the process, but that tools send to servers for other purposes.</summary>
public sealed class IgnoredSignals : IDisposable
{
    // Linux, on all processors that the runtime supports.
    private const PosixSignal User1 = (PosixSignal)10;
    private const PosixSignal User2 = (PosixSignal)12;

    private readonly PosixSignalRegistration[] _registrations;

    private IgnoredSignals(params PosixSignal[] signals) =>
        _registrations = Array.ConvertAll(
            signals, signal => PosixSignalRegistration.Create(signal, static context => context.Cancel = true));

    /// <summary>SIGUSR1 and SIGUSR2, which mean nothing to kedge.</summary>
    public static IgnoredSignals ForEveryCommand() => new(User1, User2);

    /// <summary>SIGHUP, which asks a server for a reload, also while it is still starting.</summary>
    public static IgnoredSignals ForServers() => new(PosixSignal.SIGHUP);

    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }
    }
}
