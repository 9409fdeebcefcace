namespace Kedge.Host.Forwarding;

/// <summary>
/// Cancels exchanges that make no progress. One coarse timer checks all of them, so that an exchange only records the
/// time of its last progress and no timer is set or reset per request. An exchange may exceed its limit by up to an
/// eighth.
/// </summary>
internal sealed class InactivityMonitor : IDisposable
{
    private readonly long _readLimit;
    private readonly long _writeLimit;
    private readonly long _unreadLimit;
    // About one per processor, so that requests rarely contend for a lock.
    private readonly ExchangeProgress.WatchList[] _lists;
    private readonly Timer? _timer;

    /// <param name="readLimit">The limit while the request body is read; zero or less = none.</param>
    /// <param name="writeLimit">The limit after that; zero or less = none.</param>
    /// <param name="unreadLimit">
    /// The limit for exempt exchanges while a part of the response is due to the caller; zero or less = none.
    /// </param>
    public InactivityMonitor(TimeSpan readLimit, TimeSpan writeLimit, TimeSpan unreadLimit)
    {
        _readLimit = Milliseconds(readLimit);
        _writeLimit = Milliseconds(writeLimit);
        _unreadLimit = Milliseconds(unreadLimit);
        _lists = new ExchangeProgress.WatchList[Environment.ProcessorCount];
        for (var i = 0; i < _lists.Length; i++)
        {
            _lists[i] = new();
        }
        var min = Math.Min(Math.Min(_readLimit, _writeLimit), _unreadLimit);
        if (min < long.MaxValue)
        {
            var period = TimeSpan.FromMilliseconds(Math.Clamp(min / 8, 10, 1000));
            _timer = new Timer(static state => ((InactivityMonitor)state!).Sweep(), this, period, period);
        }
    }

    /// <summary>Watches an exchange until <see cref="ExchangeProgress.End"/>.</summary>
    public void Add(ExchangeProgress exchange) =>
        _lists[(uint)Environment.CurrentManagedThreadId % (uint)_lists.Length].Add(exchange);

    public void Dispose() => _timer?.Dispose();

    private void Sweep()
    {
        var now = Environment.TickCount64;
        List<ExchangeProgress>? inactive = null;
        foreach (var list in _lists)
        {
            list.MarkInactive(now, _readLimit, _writeLimit, _unreadLimit, ref inactive);
        }
        if (inactive is not null)
        {
            // Outside the locks: cancelling runs code of the exchange.
            foreach (var exchange in inactive)
            {
                exchange.Cancellation?.Cancel();
            }
        }
    }

    private static long Milliseconds(TimeSpan limit) =>
        limit <= TimeSpan.Zero ? long.MaxValue : (long)limit.TotalMilliseconds;
}
