namespace Kedge.Host.Backends;

/// <summary>
/// The DNS lookups that the requests of one caller's connection wait for. Stored as a feature of the connection, so
/// that one caller cannot use up the lookups of all callers.
/// </summary>
public sealed class ConnectionLookups
{
    /// <summary>How many lookups the requests of one connection may wait for at the same time.</summary>
    public const int Limit = 16;

    private int _waiting;

    /// <summary>Counts a request that starts to wait; false when the connection has reached its limit.</summary>
    public bool TryEnter()
    {
        if (Interlocked.Increment(ref _waiting) <= Limit)
        {
            return true;
        }
        Leave();
        return false;
    }

    /// <summary>Ends the wait of a request that entered.</summary>
    public void Leave() => Interlocked.Decrement(ref _waiting);
}
