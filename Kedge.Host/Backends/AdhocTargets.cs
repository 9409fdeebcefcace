using System.Collections.Concurrent;
using System.Net;
using Kedge.Domain;
using Kedge.Domain.Decoded;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Backends;

/// <summary>The result of looking up the name that an ad-hoc rule yields.</summary>
/// <param name="Endpoints">Empty when the name does not resolve or is rejected.</param>
/// <param name="Refusal">The kind of address for which the name is rejected; null when it is not.</param>
/// <param name="ExpiresAt">By <see cref="Clock"/>.</param>
internal sealed record AdhocTarget(EndpointSet Endpoints, string? Refusal, long ExpiresAt);

/// <summary>
/// Looks up the names that ad-hoc rules yield (docs/security.md#ad-hoc-targets), with a short-lived cache.
/// </summary>
internal sealed class AdhocTargets(DnsLookup dns, bool allowLoopback)
{
    private const int MaxCached = 4096;
    private static readonly TimeSpan MinTtl = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxTtl = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<(string, ushort), Task<AdhocTarget>> _cache = new();
    private ulong _tickets;

    public ulong NextTicket() => Interlocked.Increment(ref _tickets);

    /// <summary>The endpoints of a name and port. Concurrent lookups of the same name share one query.</summary>
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
            // The cache must not grow without bound when callers send ever new names: it costs lookups instead.
            _cache.Clear();
        }
        return _cache.GetOrAdd(key, static (k, self) => self.LookUpAsync(k.Item1, k.Item2), this);
    }

    private async Task<AdhocTarget> LookUpAsync(string dnsName, ushort port)
    {
        // Off the caller's thread and without the caller's cancellation: other requests may wait for the same lookup.
        await Task.Yield();
        DnsAnswer<IPAddress> answer;
        try
        {
            answer = await dns.AddressesAsync(dnsName, CancellationToken.None);
        }
        catch (DnsLookupException)
        {
            return new(EndpointSet.Empty, null, Clock.Now + MinTtl.Ticks);
        }
        var expiresAt = Clock.Now + Clamp(answer.Ttl).Ticks;
        var endpoints = new List<Endpoint>();
        foreach (var address in answer.Records)
        {
            if (AddressPolicy.refusal(address, allowLoopback) is { } kind)
            {
                // One forbidden address among others is a sign of DNS rebinding, so the whole name is rejected.
                return new(EndpointSet.Empty, kind, expiresAt);
            }
            endpoints.Add(new Endpoint(ResolvedEndpoint.Of(address, port, dnsName)));
        }
        return new(new EndpointSet([.. endpoints], Balancer.RoundRobin), null, expiresAt);
    }

    private static TimeSpan Clamp(TimeSpan ttl) =>
        ttl == Timeout.InfiniteTimeSpan || ttl > MaxTtl ? MaxTtl
        : ttl < MinTtl ? MinTtl
        : ttl;
}
