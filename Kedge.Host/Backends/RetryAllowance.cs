using Kedge.Domain;

namespace Kedge.Host.Backends;

/// <summary>The retry budget of a backend, as requests use it.</summary>
/// <param name="initial">Of which nothing was used.</param>
internal sealed class RetryAllowance(RetryBudget initial)
{
    private RetryBudget _state = initial;
    private volatile bool _isUsed;

    /// <summary>Whether a request whose route has retries was sent.</summary>
    public bool IsUsed => _isUsed;

    /// <summary>How many retries it allows at once.</summary>
    public double Tokens => Volatile.Read(ref _state).Tokens(Clock.Now);

    /// <summary>A request is sent for the first time.</summary>
    public void First()
    {
        _isUsed = true;
        var now = Clock.Now;
        while (true)
        {
            var before = Volatile.Read(ref _state);
            if (Interlocked.CompareExchange(ref _state, before.First(now), before) == before)
            {
                return;
            }
        }
    }

    /// <summary>Takes a retry; false when there must be none.</summary>
    public bool TryTake()
    {
        var now = Clock.Now;
        while (true)
        {
            var before = Volatile.Read(ref _state);
            var after = before.TryTake(now);
            if (after.IsNone)
            {
                return false;
            }
            if (Interlocked.CompareExchange(ref _state, after.Value, before) == before)
            {
                return true;
            }
        }
    }
}
