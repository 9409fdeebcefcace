using System.Collections.Concurrent;
using System.Net;
using Kedge.Domain;
using Kedge.Domain.Decoded;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Backends;

/// <param name="Endpoints">Empty when the name does not resolve, or was refused.</param>
/// <param name="Refusal">What kind of address it leads to that it must not lead to; null when it may.</param>
internal sealed record AdhocTarget(EndpointSet Endpoints, string? Refusal, long ExpiresAt);

/// <summary>Looks up the names that ad-hoc rules lead to, with a short cache. SPEC section 4.</summary>
internal sealed class AdhocTargets(DnsLookup dns, bool allowLoopback)
{
    private const int MaxCached = 4096;
    private static readonly TimeSpan Shortest = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<(string, ushort), Task<AdhocTarget>> _cache = new();
    private ulong _tickets;

    public ulong NextTicket() => Interlocked.Increment(ref _tickets);

    /// <summary>The endpoints of a name and port. Lookups of one name at one time are one lookup.</summary>
    public Task<AdhocTarget> ResolveAsync(string dnsName, ushort port)
    {
        var key = (dnsName, port);
        if (_cache.TryGetValue(key, out var known))
        {
            if (!known.IsCompletedSuccessfully || Clock.Now < known.Result.ExpiresAt)
            {
                return known;
            }
            _cache.TryRemove(new(key, known));
        }
        if (_cache.Count >= MaxCached)
        {
            // Whoever floods the cache with names pays with lookups; it does not grow.
            _cache.Clear();
        }
        return _cache.GetOrAdd(key, static (k, self) => self.LookUpAsync(k.Item1, k.Item2), this);
    }

    private async Task<AdhocTarget> LookUpAsync(string dnsName, ushort port)
    {
        // Off the caller's thread, and under nobody's cancellation: others may be waiting for the same lookup.
        await Task.Yield();
        DnsAnswer<IPAddress> answer;
        try
        {
            answer = await dns.AddressesAsync(dnsName, CancellationToken.None);
        }
        catch (DnsLookupException)
        {
            return new(EndpointSet.Empty, null, Clock.Now + Shortest.Ticks);
        }
        var ttl = answer.Ttl == Timeout.InfiniteTimeSpan || answer.Ttl > Longest ? Longest : answer.Ttl < Shortest ? Shortest : answer.Ttl;
        var expires = Clock.Now + ttl.Ticks;
        var endpoints = new List<Endpoint>();
        string? refusal = null;
        foreach (var address in answer.Records)
        {
            if (AddressPolicy.refusal(address, allowLoopback) is { } kind)
            {
                refusal = kind;
            }
            else
            {
                endpoints.Add(new Endpoint(ResolvedEndpoint.Of(address, port, dnsName), tls: false));
            }
        }
        // One bad address among good ones is a sign of rebinding, not of a service: the name as a whole is refused.
        return refusal is not null
            ? new(EndpointSet.Empty, refusal, expires)
            : new(new EndpointSet([.. endpoints], Balancer.RoundRobin), null, expires);
    }
}
