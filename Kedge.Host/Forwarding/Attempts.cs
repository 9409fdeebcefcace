using Kedge.Wire.Upstream;

namespace Kedge.Host.Forwarding;

/// <summary>Where a request that failed may be sent next.</summary>
internal enum NextAttempt
{
    /// <summary>Nowhere.</summary>
    None,

    /// <summary>To an endpoint that has not been tried.</summary>
    OtherEndpoint,

    /// <summary>
    /// To an endpoint that has not been tried; when there is none, to the same one on a new connection.
    /// </summary>
    OtherOrSameEndpoint,

    /// <summary>To the same one, on a new connection.</summary>
    SameEndpoint,
}

/// <summary>
/// Decides, from the facts of a failed attempt, whether the request may be sent again (docs/matching.md#attempts). One
/// per request.
/// </summary>
/// <param name="mayRepeat">
/// Whether the request is idempotent and has no body, so that processing it twice does no harm.
/// </param>
internal struct Attempts(bool mayRepeat)
{
    /// <summary>How often a request that endpoints did not process is sent again.</summary>
    private const int MaxUnprocessed = 3;

    private int _unprocessed;
    private bool _wasRepeated;

    /// <summary>Whether the next attempt needs a connection that has not carried a request.</summary>
    public bool OnNewConnection { get; private set; }

    /// <param name="isReplayable">Whether everything that was sent of the request is still available.</param>
    public NextAttempt Next(UpstreamException failure, bool isReplayable)
    {
        if (!isReplayable)
        {
            return NextAttempt.None;
        }
        OnNewConnection = false;
        if (failure.Kind is FailureKind.Connect or FailureKind.Limit)
        {
            return NextAttempt.OtherEndpoint;
        }
        if (failure.Sent == SentState.CertainlyNotProcessed)
        {
            OnNewConnection = true;
            return _unprocessed++ < MaxUnprocessed ? NextAttempt.OtherOrSameEndpoint : NextAttempt.None;
        }
        if (mayRepeat
            && !_wasRepeated
            && failure is
            {
                Kind: FailureKind.Closed or FailureKind.GoAway,
                ConnectionWasReused: true,
                BeforeAnyResponseByte: true,
            })
        {
            _wasRepeated = true;
            OnNewConnection = true;
            return NextAttempt.SameEndpoint;
        }
        return NextAttempt.None;
    }
}
