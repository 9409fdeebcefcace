namespace Kedge.Host.Resolvers;

/// <summary>
/// Looks a name up, again when its TTL has run out. A failed lookup is tried again after a back-off that doubles, with
/// jitter, so that a DNS server that comes back is not met by everyone at once.
/// </summary>
public abstract class DnsPolling : IEndpointResolver
{
    // A TTL of 0 must not become a storm of lookups.
    private static readonly TimeSpan ShortestInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestInterval = TimeSpan.FromDays(1);
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LongestBackoff = TimeSpan.FromSeconds(30);

    /// <summary>One lookup. An infinite TTL: the answer never changes.</summary>
    protected abstract Task<DnsAnswer<ResolvedEndpoint>> LookUpAsync(CancellationToken stop);

    public async Task RunAsync(IEndpointSink sink, CancellationToken stop)
    {
        var backoff = FirstBackoff;
        while (!stop.IsCancellationRequested)
        {
            TimeSpan wait;
            try
            {
                var answer = await LookUpAsync(stop);
                sink.Resolved(answer.Records);
                if (answer.Ttl == Timeout.InfiniteTimeSpan)
                {
                    return;
                }
                wait = answer.Ttl < ShortestInterval ? ShortestInterval : answer.Ttl > LongestInterval ? LongestInterval : answer.Ttl;
                backoff = FirstBackoff;
            }
            catch (DnsLookupException e)
            {
                sink.Failed(e.Message);
                wait = backoff * (0.5 + Random.Shared.NextDouble() / 2);
                backoff = backoff * 2 < LongestBackoff ? backoff * 2 : LongestBackoff;
            }
            await Task.Delay(wait, stop);
        }
    }
}

/// <summary>Resolver <c>host</c>: the addresses of a name, with one port.</summary>
public sealed class HostResolver(DnsLookup dns, string dnsName, ushort port) : DnsPolling
{
    protected override async Task<DnsAnswer<ResolvedEndpoint>> LookUpAsync(CancellationToken stop)
    {
        var answer = await dns.AddressesAsync(dnsName, stop);
        var endpoints = new ResolvedEndpoint[answer.Records.Count];
        for (var i = 0; i < endpoints.Length; i++)
        {
            endpoints[i] = ResolvedEndpoint.Of(answer.Records[i], port, dnsName);
        }
        return new(endpoints, answer.Ttl);
    }
}

/// <summary>Resolver <c>srv</c>: the addresses of all targets of a name, each with its port, priority and weight.</summary>
/// <param name="portOverride">Instead of the records' ports; 0 = theirs.</param>
public sealed class SrvResolver(DnsLookup dns, string dnsName, ushort portOverride) : DnsPolling
{
    protected override async Task<DnsAnswer<ResolvedEndpoint>> LookUpAsync(CancellationToken stop)
    {
        var services = await dns.ServicesAsync(dnsName, stop);
        var lookups = new Task<DnsAnswer<ResolvedEndpoint>>[services.Records.Count];
        for (var i = 0; i < lookups.Length; i++)
        {
            lookups[i] = AddressesOfAsync(services.Records[i], stop);
        }
        var endpoints = new List<ResolvedEndpoint>();
        var ttl = services.Ttl;
        DnsLookupException? failure = null;
        foreach (var lookup in lookups)
        {
            try
            {
                var answer = await lookup;
                endpoints.AddRange(answer.Records);
                if (answer.Ttl != Timeout.InfiniteTimeSpan && answer.Ttl < ttl)
                {
                    ttl = answer.Ttl;
                }
            }
            catch (DnsLookupException e)
            {
                // One target without an address must not take the others down.
                failure = e;
            }
        }
        return endpoints.Count == 0 && failure is not null ? throw failure : new(endpoints, ttl);
    }

    private async Task<DnsAnswer<ResolvedEndpoint>> AddressesOfAsync(SrvTarget target, CancellationToken stop)
    {
        var answer = await dns.AddressesAsync(target.Target, stop);
        var endpoints = new ResolvedEndpoint[answer.Records.Count];
        for (var i = 0; i < endpoints.Length; i++)
        {
            endpoints[i] = ResolvedEndpoint.Of(answer.Records[i], portOverride == 0 ? target.Port : portOverride, target.Target) with
            {
                Rank = new Domain.EndpointRank(target.Priority, target.Weight),
            };
        }
        return new(endpoints, answer.Ttl);
    }
}
