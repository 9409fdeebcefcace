using System.Runtime.InteropServices;

namespace Kedge.Wire.Loops;

/// <summary>The event loops of a process.</summary>
public sealed class EventLoops : IDisposable
{
    private readonly EventLoop[] _loops;
    private uint _next;

    /// <param name="count">At least 1.</param>
    /// <param name="failed">Gets exceptions of handlers, which are errors of this program.</param>
    /// <exception cref="PlatformNotSupportedException">There is no epoll here.</exception>
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

    /// <summary>Whether the system has what the loops need.</summary>
    public static bool IsSupported =>
        OperatingSystem.IsLinux()
        && RuntimeInformation.ProcessArchitecture is Architecture.X64 or Architecture.Arm64;

    public IReadOnlyList<EventLoop> All => _loops;

    /// <summary>The given loop if it is one of these, or else the one with the fewest sockets.</summary>
    public EventLoop Near(EventLoop? loop) => loop?.Group == this ? loop : LeastLoaded();

    /// <summary>The loop with the fewest sockets; of several, each in turn.</summary>
    public EventLoop LeastLoaded() => Least(static loop => loop.Sockets);

    /// <summary>
    /// The loop with the fewest connections of callers; of several, each in turn. Connections to backends do not count:
    /// they are opened on the loops of the callers that need them, and would push the next callers away from there.
    /// </summary>
    public EventLoop WithFewestCallers() => Least(static loop => loop.Callers);

    /// <summary>Ends the threads. What is still open is not closed.</summary>
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
