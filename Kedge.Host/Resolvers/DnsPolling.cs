using Kedge.Host.Timing;

namespace Kedge.Host.Resolvers;

/// <summary>
/// Looks up a name, and again whenever its TTL expires. A failed lookup is retried with an exponential back-off and
/// jitter, so that a DNS server that comes back is not flooded.
/// </summary>
public abstract class DnsPolling : IEndpointResolver
{
    // A TTL of 0 must not cause a flood of lookups.
    private static readonly TimeSpan MinInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxInterval = TimeSpan.FromDays(1);
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan MaxBackoff = TimeSpan.FromSeconds(30);

    /// <summary>One lookup. An infinite TTL means that the answer never changes.</summary>
    protected abstract Task<DnsAnswer<ResolvedEndpoint>> LookUpAsync(CancellationToken stop);

    public async Task RunAsync(IEndpointSink sink, CancellationToken stop)
    {
        var backoff = new Backoff(FirstBackoff, MaxBackoff);
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
                wait = answer.Ttl < MinInterval ? MinInterval : answer.Ttl > MaxInterval ? MaxInterval : answer.Ttl;
                backoff.Reset();
            }
            catch (DnsLookupException e)
            {
                sink.Failed(e.Message);
                wait = backoff.Next();
            }
            await Task.Delay(wait, stop);
        }
    }
}

/// <summary>Resolver <c>host</c>: the addresses of a name, all with the same port.</summary>
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

/// <summary>
/// Resolver <c>srv</c>: the addresses of all targets of a name, with their ports, priorities and weights.
/// </summary>
/// <param name="portOverride">Replaces the ports of the records; 0 = does not.</param>
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
                // The other targets stay usable when one has no address.
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
            var port = portOverride == 0 ? target.Port : portOverride;
            endpoints[i] = ResolvedEndpoint.Of(answer.Records[i], port, target.Target) with
            {
                Rank = new Domain.EndpointRank(target.Priority, target.Weight),
            };
        }
        return new(endpoints, answer.Ttl);
    }
}
