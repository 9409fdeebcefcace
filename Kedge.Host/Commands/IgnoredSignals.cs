using System.Runtime.InteropServices;

namespace Kedge.Host.Commands;

/// <summary>Signals that end a process by default, but that tools send to servers for other purposes.</summary>
public sealed class IgnoredSignals : IDisposable
{
    private readonly PosixSignalRegistration[] _registrations;

    private IgnoredSignals(params PosixSignal[] signals) =>
        _registrations = Array.ConvertAll(
            signals, signal => PosixSignalRegistration.Create(signal, static context => context.Cancel = true));

    /// <summary>SIGUSR1 and SIGUSR2, which mean nothing to kedge.</summary>
    public static IgnoredSignals ForEveryCommand() => new(UserSignals);

    /// <summary>SIGHUP, which asks a server to reload, even while it is still starting.</summary>
    public static IgnoredSignals ForServers() => new(PosixSignal.SIGHUP);

    // Their numbers, on all processors that the runtime supports. Windows has no such signals.
    private static PosixSignal[] UserSignals =>
        OperatingSystem.IsLinux() ? [(PosixSignal)10, (PosixSignal)12]
        : OperatingSystem.IsMacOS() ? [(PosixSignal)30, (PosixSignal)31]
        : [];

    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }
    }
}
