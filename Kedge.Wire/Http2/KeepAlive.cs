namespace Kedge.Wire.Http2;

/// <summary>What to do about a connection with open streams.</summary>
internal enum KeepAliveAction
{
    Nothing,
    Ping,

    /// <summary>The peer does not respond: the connection is lost.</summary>
    Lose,
}

/// <summary>
/// Decides when to ask a silent peer whether it is still there. gRPC servers end connections whose PINGs come too
/// often, but forgive earlier PINGs whenever they send a frame, so one PING per silence is safe, and further ones in
/// the same silence must be rare.
/// </summary>
internal sealed class KeepAlive(Http2Options options)
{
    private long _frames;
    private long _answers;
    private long _heard;
    private long _pinged;
    private bool _isAwaiting;
    private bool _hasPinged;

    // Whether anything but the response to the last PING has arrived since.
    private bool _isFresh = true;

    /// <summary>Measures silence from now on: the first stream was opened.</summary>
    public void Activate(long now) => _heard = now;

    /// <summary>Call it from time to time while streams are open.</summary>
    /// <param name="now">A time in milliseconds that never goes backwards.</param>
    /// <param name="frames">How many frames were received, except responses to PING.</param>
    /// <param name="answers">How many responses to PING were received.</param>
    public KeepAliveAction Decide(long now, long frames, long answers)
    {
        if (frames != _frames || answers != _answers)
        {
            _isFresh |= frames != _frames;
            _frames = frames;
            _answers = answers;
            _heard = now;
            _isAwaiting = false;
        }
        if (_isAwaiting)
        {
            return now - _pinged >= options.PingTimeout.TotalMilliseconds
                ? KeepAliveAction.Lose
                : KeepAliveAction.Nothing;
        }
        if (now - _heard < options.PingAfter.TotalMilliseconds
            || (_hasPinged && !_isFresh && now - _pinged < options.PingInterval.TotalMilliseconds))
        {
            return KeepAliveAction.Nothing;
        }
        _pinged = now;
        _hasPinged = true;
        _isAwaiting = true;
        _isFresh = false;
        return KeepAliveAction.Ping;
    }
}
