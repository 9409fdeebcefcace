using System.Runtime.InteropServices;

namespace Kedge.Wire.Loops;

/// <summary>The event loops of a process.</summary>
public sealed class EventLoops : IDisposable
{
    private readonly EventLoop[] _loops;
    private uint _next;

    /// <param name="count">At least 1.</param>
    /// <param name="failed">Receives the exceptions that handlers throw, which are bugs in this program.</param>
    /// <exception cref="PlatformNotSupportedException">The platform does not support event loops.</exception>
    public EventLoops(int count, Action<Exception> failed)
    {
        if (!IsSupported)
        {
            throw new PlatformNotSupportedException("event loops need Linux on x64 or Arm64");
        }
        _loops = new EventLoop[count];
        for (var i = 0; i < count; i++)
        {
            _loops[i] = new EventLoop(this, i, failed);
        }
        foreach (var loop in _loops)
        {
            loop.Start();
        }
    }

    /// <summary>Whether the platform supports event loops.</summary>
    public static bool IsSupported =>
        OperatingSystem.IsLinux()
        && RuntimeInformation.ProcessArchitecture is Architecture.X64 or Architecture.Arm64;

    public IReadOnlyList<EventLoop> All => _loops;

    /// <summary>The given loop if it is one of these; otherwise the one with the fewest sockets.</summary>
    public EventLoop Near(EventLoop? loop) => loop?.Group == this ? loop : LeastLoaded();

    /// <summary>The loop with the fewest sockets; ties are broken in rotation.</summary>
    public EventLoop LeastLoaded() => Least(static loop => loop.Sockets);

    /// <summary>
    /// The loop with the fewest callers' connections; ties are broken in rotation. Connections to backends do not
    /// count: they are opened on the loops of the callers that need them, and would steer new callers away from those
    /// loops.
    /// </summary>
    public EventLoop WithFewestCallers() => Least(static loop => loop.Callers);

    /// <summary>Ends the threads. Does not close sockets that are still open.</summary>
    public void Dispose()
    {
        foreach (var loop in _loops)
        {
            loop.Stop();
        }
    }

    private EventLoop Least(Func<EventLoop, int> load)
    {
        var start = Interlocked.Increment(ref _next);
        var least = _loops[start % (uint)_loops.Length];
        for (var i = 1u; i < _loops.Length; i++)
        {
            var loop = _loops[(start + i) % (uint)_loops.Length];
            if (load(loop) < load(least))
            {
                least = loop;
            }
        }
        return least;
    }
}
