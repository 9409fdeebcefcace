namespace Kedge.Wire.Http2;

/// <summary>
/// Limits frames that cost work and carry nothing, such as SETTINGS, PING, PRIORITY, unknown types, DATA without
/// content, and header blocks and resets of closed streams. Each takes one from a budget. The budget recovers with
/// time, and with each frame that this side sends, since that may be the reason for some of the peer's frames.
/// </summary>
internal sealed class FloodGuard
{
    /// <summary>How many such frames the peer may send at once.</summary>
    public const int Burst = 2000;

    /// <summary>How many more such frames it may send with each second that passes.</summary>
    public const int PerSecond = 200;

    private int _budget = Burst;
    private long _refilled = long.MinValue;

    /// <summary>Refills the budget for the time since the last call.</summary>
    /// <param name="now">A time in milliseconds that never goes backwards.</param>
    public void Refill(long now)
    {
        if (_refilled == long.MinValue)
        {
            _refilled = now;
            return;
        }
        var due = Math.Min((now - _refilled) * PerSecond / 1000, Burst);
        if (due > 0)
        {
            _refilled = now;
            _budget = (int)Math.Min(Burst, _budget + due);
        }
    }

    /// <summary>Refills the budget for a HEADERS or DATA frame that was sent.</summary>
    public void Sent() => _budget = Math.Min(Burst, _budget + 2);

    /// <summary>Charges the budget for a frame that carries nothing.</summary>
    /// <returns>False when the budget is exhausted.</returns>
    public bool TryTake() => --_budget >= 0;
}
