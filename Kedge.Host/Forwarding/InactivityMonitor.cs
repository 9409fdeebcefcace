namespace Kedge.Host.Forwarding;

/// <summary>
/// Ends exchanges that do not move. One coarse timer looks at all of them, so that the exchanges themselves only note
/// when they moved: no timer is set or reset on a request's way. A limit is kept to within an eighth of it.
/// </summary>
internal sealed class InactivityMonitor : IDisposable
{
    private readonly long _readLimit;
    private readonly long _writeLimit;
    private readonly Stripe[] _stripes;
    private readonly Timer? _timer;

    public InactivityMonitor(TimeSpan readLimit, TimeSpan writeLimit)
    {
        _readLimit = Milliseconds(readLimit);
        _writeLimit = Milliseconds(writeLimit);
        _stripes = new Stripe[Environment.ProcessorCount];
        for (var i = 0; i < _stripes.Length; i++)
        {
            _stripes[i] = new Stripe();
        }
        var shortest = Math.Min(_readLimit, _writeLimit);
        if (shortest < long.MaxValue)
        {
            var period = TimeSpan.FromMilliseconds(Math.Clamp(shortest / 8, 10, 1000));
            _timer = new Timer(static state => ((InactivityMonitor)state!).Sweep(), this, period, period);
        }
    }

    /// <summary>Watches the exchange until <see cref="Remove"/>.</summary>
    public void Add(Exchange exchange)
    {
        var stripe = _stripes[(uint)Environment.CurrentManagedThreadId % (uint)_stripes.Length];
        exchange.WatchedIn = stripe;
        lock (stripe)
        {
            exchange.WatchedNext = stripe.Head;
            if (stripe.Head is { } head)
            {
                head.WatchedPrevious = exchange;
            }
            stripe.Head = exchange;
        }
    }

    public static void Remove(Exchange exchange)
    {
        if (exchange.WatchedIn is not { } stripe)
        {
            return;
        }
        lock (stripe)
        {
            if (exchange.WatchedPrevious is { } previous)
            {
                previous.WatchedNext = exchange.WatchedNext;
            }
            else
            {
                stripe.Head = exchange.WatchedNext;
            }
            if (exchange.WatchedNext is { } next)
            {
                next.WatchedPrevious = exchange.WatchedPrevious;
            }
        }
        exchange.WatchedIn = null;
        exchange.WatchedNext = exchange.WatchedPrevious = null;
    }

    public void Dispose() => _timer?.Dispose();

    private void Sweep()
    {
        var now = Environment.TickCount64;
        List<Exchange>? idle = null;
        foreach (var stripe in _stripes)
        {
            lock (stripe)
            {
                for (var exchange = stripe.Head; exchange is not null; exchange = exchange.WatchedNext)
                {
                    var limit = exchange.IsReadingRequest ? _readLimit : _writeLimit;
                    if (now - exchange.LastMove > limit && !exchange.IsExemptFromInactivity)
                    {
                        exchange.MarkInactive();
                        // Marked once is enough; it is on its way out.
                        exchange.IsExemptFromInactivity = true;
                        (idle ??= []).Add(exchange);
                    }
                }
            }
        }
        if (idle is not null)
        {
            foreach (var exchange in idle)
            {
                exchange.Cancellation?.Cancel();
            }
        }
    }

    private static long Milliseconds(TimeSpan limit) => limit <= TimeSpan.Zero ? long.MaxValue : (long)limit.TotalMilliseconds;

    /// <summary>A list of its own for about each processor, so that requests do not meet at one lock.</summary>
    internal sealed class Stripe
    {
        public Exchange? Head { get; set; }
    }
}
