using System.Threading.Channels;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// Turns bursts of signals into few calls: one call when no signal has arrived for a while, or some time after the
/// first signal at the latest. A signal during a call leads to another call, so none is lost.
/// </summary>
/// <param name="first">The quiet time before the first call, when many signals can be expected.</param>
/// <param name="quiet">The quiet time before every other call.</param>
/// <param name="latest">The longest time that a signal waits.</param>
internal sealed class Coalescer(TimeSpan first, TimeSpan quiet, TimeSpan latest, TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Channel<bool> _signalled = Channel.CreateBounded<bool>(1);
    private bool _isPending;
    private long _firstSignal;
    private long _lastSignal;

    public void Signal()
    {
        lock (_lock)
        {
            _lastSignal = time.GetTimestamp();
            if (_isPending)
            {
                return;
            }
            _isPending = true;
            _firstSignal = _lastSignal;
        }
        _signalled.Writer.TryWrite(true);
    }

    /// <summary>Calls until cancelled.</summary>
    public async Task RunAsync(Action call, CancellationToken stop)
    {
        var needed = first;
        while (true)
        {
            await _signalled.Reader.ReadAsync(stop);
            while (true)
            {
                TimeSpan wait;
                lock (_lock)
                {
                    var untilQuiet = needed - time.GetElapsedTime(_lastSignal);
                    var untilLatest = latest - time.GetElapsedTime(_firstSignal);
                    wait = untilQuiet < untilLatest ? untilQuiet : untilLatest;
                    if (wait <= TimeSpan.Zero)
                    {
                        // From here on a signal requests the next call.
                        _isPending = false;
                        break;
                    }
                }
                await Task.Delay(wait, time, stop);
            }
            needed = quiet;
            call();
        }
    }
}
