using Kedge.Domain;

namespace Kedge.Host.Backends;

/// <summary>The retry budget of a backend, as requests use it.</summary>
/// <param name="initial">The unused budget.</param>
internal sealed class RetryAllowance(RetryBudget initial)
{
    private RetryBudget _state = initial;
    private volatile bool _isUsed;

    /// <summary>Whether any request whose route has retries was sent.</summary>
    public bool IsUsed => _isUsed;

    /// <summary>How many retries it allows right now.</summary>
    public double Tokens => Volatile.Read(ref _state).Tokens(Clock.Now);

    /// <summary>Counts the first attempt of a request.</summary>
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

    /// <summary>Takes a retry from the budget; false when the budget is used up.</summary>
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
