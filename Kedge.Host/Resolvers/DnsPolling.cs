using System.Diagnostics;
using Kedge.Host.Timing;

namespace Kedge.Host.Resolvers;

/// <summary>
/// Looks up a name, and again whenever its TTL expires or the name servers change. Retries a failed lookup with
/// exponential back-off and jitter, so as not to flood a DNS server that comes back. Keeps the last answer until DNS
/// says that the service is not available, or has said for longer than the grace that the name does not exist.
/// </summary>
/// <param name="dns">Where to look names up.</param>
/// <param name="absenceGrace">How long the last answer is kept when DNS answers that the name does not exist.</param>
public abstract class DnsPolling(DnsLookup dns, TimeSpan absenceGrace) : IEndpointResolver
{
    // A TTL of 0 must not cause a flood of lookups.
    private static readonly TimeSpan MinInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxInterval = TimeSpan.FromDays(1);
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan MaxBackoff = TimeSpan.FromSeconds(30);

    protected DnsLookup Dns => dns;

    /// <summary>One lookup. An infinite TTL means that the answer never changes.</summary>
    protected abstract Task<DnsAnswer<ResolvedEndpoint>> LookUpAsync(CancellationToken stop);

    public async Task RunAsync(IEndpointSink sink, CancellationToken stop)
    {
        var backoff = new Backoff(FirstBackoff, MaxBackoff);
        var hasAnswer = false;
        long? absentSince = null;
        while (!stop.IsCancellationRequested)
        {
            var changed = dns.ServersChanged;
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
                hasAnswer = true;
                absentSince = null;
            }
            catch (DnsLookupException e)
            {
                wait = backoff.Next();
                if (hasAnswer)
                {
                    var left = TimeSpan.MaxValue;
                    if (e.IsAbsent)
                    {
                        absentSince ??= Stopwatch.GetTimestamp();
                        left = absenceGrace - Stopwatch.GetElapsedTime(absentSince.Value);
                    }
                    if (e.IsServiceUnavailable || left <= TimeSpan.Zero)
                    {
                        sink.Resolved([]);
                        hasAnswer = false;
                    }
                    else if (left < wait)
                    {
                        wait = left > FirstBackoff ? left : FirstBackoff;
                    }
                }
                sink.Failed(e.Message);
            }
            await changed.WaitAsync(wait, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (changed.IsCompleted)
            {
                backoff.Reset();
            }
        }
    }
}

/// <summary>Resolver <c>host</c>: the addresses of a name, all with the same port.</summary>
public sealed class HostResolver(DnsLookup dns, TimeSpan absenceGrace, string dnsName, ushort port)
    : DnsPolling(dns, absenceGrace)
{
    protected override async Task<DnsAnswer<ResolvedEndpoint>> LookUpAsync(CancellationToken stop)
    {
        var answer = await Dns.AddressesAsync(dnsName, stop);
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
/// <param name="dns">Where to look names up.</param>
/// <param name="absenceGrace">See <see cref="DnsPolling"/>.</param>
/// <param name="dnsName">The name with the SRV records.</param>
/// <param name="portOverride">Replaces the ports of the records; 0 = keep them.</param>
public sealed class SrvResolver(DnsLookup dns, TimeSpan absenceGrace, string dnsName, ushort portOverride)
    : DnsPolling(dns, absenceGrace)
{
    protected override async Task<DnsAnswer<ResolvedEndpoint>> LookUpAsync(CancellationToken stop)
    {
        var services = await Dns.ServicesAsync(dnsName, stop);
        var lookups = new Task<DnsAnswer<ResolvedEndpoint>>[services.Records.Count];
        for (var i = 0; i < lookups.Length; i++)
        {
            lookups[i] = AddressesOfAsync(services.Records[i], stop);
        }
        var endpoints = new List<ResolvedEndpoint>();
        var ttl = services.Ttl;
        DnsLookupException? failure = null;
        var areAbsent = true;
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
                areAbsent &= e.IsAbsent;
            }
        }
        return endpoints.Count == 0 && failure is not null
            ? throw new DnsLookupException(failure.Message, areAbsent)
            : new(endpoints, ttl);
    }

    private async Task<DnsAnswer<ResolvedEndpoint>> AddressesOfAsync(SrvTarget target, CancellationToken stop)
    {
        var port = portOverride == 0 ? target.Port : portOverride;
        if (port == 0)
        {
            throw new DnsLookupException(
                $"{dnsName}: the SRV record of {target.Target} has port 0, to which nothing can connect");
        }
        var answer = await Dns.AddressesAsync(target.Target, stop);
        var endpoints = new ResolvedEndpoint[answer.Records.Count];
        for (var i = 0; i < endpoints.Length; i++)
        {
            endpoints[i] = ResolvedEndpoint.Of(answer.Records[i], port, target.Target) with
            {
                Rank = new Domain.EndpointRank(target.Priority, target.Weight),
            };
        }
        return new(endpoints, answer.Ttl);
    }
}
