using System.Diagnostics;

namespace Kedge.Wire.Loops;

/// <summary>
/// Statistics of a loop. Only the loop's thread writes them; any thread may read them. A turn begins when the system
/// reports events and ends when the loop asks for new ones: during a turn, all other connections of the loop wait.
/// </summary>
public sealed class LoopStatistics
{
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(30);

    private long _turns;
    private long _events;
    private long _began;
    private long _windowBegan = Stopwatch.GetTimestamp();
    private long _longest;
    private long _longestBefore;

    /// <summary>How many turns the loop has run.</summary>
    public long Turns => Volatile.Read(ref _turns);

    /// <summary>How many events these turns handled in total.</summary>
    public long Events => Volatile.Read(ref _events);

    /// <summary>The longest turn of the last 30 to 60 seconds, or the current turn if that is longer.</summary>
    public TimeSpan Stall
    {
        get
        {
            var began = Volatile.Read(ref _began);
            var now = Stopwatch.GetTimestamp();
            var current = began == 0 ? 0 : now - began;
            var age = Stopwatch.GetElapsedTime(Volatile.Read(ref _windowBegan), now);
            // An idle loop runs no turns that would advance the windows.
            var longest = age < Window ? Math.Max(Volatile.Read(ref _longest), Volatile.Read(ref _longestBefore))
                : age < 2 * Window ? Volatile.Read(ref _longest)
                : 0;
            return Stopwatch.GetElapsedTime(0, Math.Max(current, longest));
        }
    }

    internal void BeginTurn(int events)
    {
        Volatile.Write(ref _turns, _turns + 1);
        Volatile.Write(ref _events, _events + events);
        Volatile.Write(ref _began, Stopwatch.GetTimestamp());
    }

    internal void EndTurn()
    {
        var now = Stopwatch.GetTimestamp();
        var duration = now - _began;
        Volatile.Write(ref _began, 0);
        var age = Stopwatch.GetElapsedTime(_windowBegan, now);
        if (age >= Window)
        {
            Volatile.Write(ref _longestBefore, age < 2 * Window ? _longest : 0);
            Volatile.Write(ref _longest, duration);
            Volatile.Write(ref _windowBegan, now);
        }
        else if (duration > _longest)
        {
            Volatile.Write(ref _longest, duration);
        }
    }
}
