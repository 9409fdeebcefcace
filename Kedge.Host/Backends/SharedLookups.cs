using System.Net;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Backends;

/// <summary>
/// Lookups of names that callers choose. Requests for the same name share one lookup, which is cancelled when none of
/// them waits for it any longer. The number of lookups is bounded: each holds sockets, for seconds when a name server
/// does not respond.
/// </summary>
/// <param name="dns">Must allow two queries for each lookup, so that none waits for another.</param>
/// <param name="limit">How many lookups may run at the same time.</param>
internal sealed class SharedLookups(DnsLookup dns, int limit)
{
    // With a long search list and name servers that do not respond, a lookup would take longer.
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, Lookup> _lookups = [];
    private readonly Lock _lock = new();
    private int _running;

    /// <summary>How many lookups are running, including those that are being cancelled.</summary>
    public int Running => Volatile.Read(ref _running);

    /// <summary>Looks a name up, or joins the running lookup of that name.</summary>
    /// <returns>Null when too many lookups are running; without records when the name has no addresses.</returns>
    /// <exception cref="OperationCanceledException"><paramref name="cancel"/> is cancelled.</exception>
    public async Task<DnsAnswer<IPAddress>?> AddressesAsync(
        string name, ConnectionLookups? connection, CancellationToken cancel)
    {
        if (connection?.TryEnter() == false)
        {
            return null;
        }
        try
        {
            if (Join(name) is not { } lookup)
            {
                return null;
            }
            try
            {
                return await lookup.Answer.WaitAsync(cancel);
            }
            finally
            {
                Leave(name, lookup);
            }
        }
        finally
        {
            connection?.Leave();
        }
    }

    private Lookup? Join(string name)
    {
        Lookup? lookup;
        lock (_lock)
        {
            if (_lookups.TryGetValue(name, out lookup))
            {
                lookup.Waiting++;
                return lookup;
            }
            if (_running >= limit)
            {
                return null;
            }
            _running++;
            lookup = new Lookup(new CancellationTokenSource()) { Waiting = 1 };
            _lookups.Add(name, lookup);
        }
        // Off the caller's thread: other requests may wait for the same lookup.
        _ = Task.Run(() => RunAsync(name, lookup), CancellationToken.None);
        return lookup;
    }

    private void Leave(string name, Lookup lookup)
    {
        lock (_lock)
        {
            if (--lookup.Waiting > 0)
            {
                return;
            }
            // The next request for the name starts another lookup.
            Remove(name, lookup);
        }
        lookup.Cancel();
    }

    private async Task RunAsync(string name, Lookup lookup)
    {
        DnsAnswer<IPAddress> answer = new([], TimeSpan.Zero);
        try
        {
            using var timeout = CancellationTokenSource.CreateLinkedTokenSource(lookup.Cancelled);
            timeout.CancelAfter(Timeout);
            answer = await dns.AddressesAsync(name, timeout.Token);
        }
        catch (Exception e) when (e is DnsLookupException or OperationCanceledException)
        {
            // No address: the waiting requests report that.
        }
        finally
        {
            lock (_lock)
            {
                _running--;
                Remove(name, lookup);
            }
            lookup.Complete(answer);
        }
    }

    private void Remove(string name, Lookup lookup)
    {
        if (_lookups.GetValueOrDefault(name) == lookup)
        {
            _lookups.Remove(name);
        }
    }

    /// <param name="cancellation">Cancelled when no request waits. It has no timer, so it needs no disposal.</param>
    private sealed class Lookup(CancellationTokenSource cancellation)
    {
        private readonly TaskCompletionSource<DnsAnswer<IPAddress>> _answer =
            new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>The number of requests that wait. Guarded by the lock of the lookups.</summary>
        public int Waiting { get; set; }

        public CancellationToken Cancelled => cancellation.Token;

        public Task<DnsAnswer<IPAddress>> Answer => _answer.Task;

        public void Cancel() => cancellation.Cancel();

        public void Complete(DnsAnswer<IPAddress> answer) => _answer.TrySetResult(answer);
    }
}
