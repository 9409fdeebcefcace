namespace Kedge.Wire.Http2;

/// <summary>
/// Limits frames that cost work and carry nothing: SETTINGS, PING, PRIORITY, unknown types, DATA without content,
/// header blocks and resets of streams that are closed. Each takes one from a budget. Time gives back to it, and so do
/// frames of this side, as each may be the reason for some frames of the peer.
/// </summary>
internal sealed class FloodGuard
{
    /// <summary>How many such frames may come at once.</summary>
    public const int Burst = 2000;

    /// <summary>How many such frames may come for each second that has passed.</summary>
    public const int PerSecond = 200;

    private int _budget = Burst;
    private long _refilled = long.MinValue;

    /// <summary>Gives back what the time since the last call is worth.</summary>
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

    /// <summary>Gives back for a HEADERS or DATA frame that was sent.</summary>
    public void Sent() => _budget = Math.Min(Burst, _budget + 2);

    /// <summary>Takes for a frame that carries nothing.</summary>
    /// <returns>False when the budget is exhausted.</returns>
    public bool TryTake() => --_budget >= 0;
}
