using System.Collections.Concurrent;
using System.Net;
using Kedge.Domain;
using Kedge.Domain.Decoded;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Backends;

/// <summary>The result of looking up the name that an ad-hoc rule yields.</summary>
/// <param name="Endpoints">Empty when the name does not resolve or is rejected.</param>
/// <param name="Refusal">Why the name is rejected; null when it is not.</param>
/// <param name="ExpiresAt">By <see cref="Clock"/>.</param>
internal sealed record AdhocTarget(EndpointSet Endpoints, string? Refusal, long ExpiresAt);

/// <summary>
/// Looks up the names that ad-hoc rules yield (docs/security.md#ad-hoc-targets), with a short-lived cache.
/// </summary>
/// <param name="lookups">Looks the names up.</param>
/// <param name="ownPorts">The ports of kedge itself, which targets must not use.</param>
/// <param name="allowLoopback">Whether targets may be on this host, including <paramref name="ownPorts"/>.</param>
internal sealed class AdhocTargets(SharedLookups lookups, OwnPorts ownPorts, bool allowLoopback)
{
    private const int MaxCached = 4096;
    private static readonly TimeSpan MinTtl = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxTtl = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<string, Answer> _answers = new();
    private readonly ConcurrentDictionary<(string, ushort), AdhocTarget> _targets = new();
    private ulong _tickets;

    /// <summary>How many lookups are running.</summary>
    public int Running => lookups.Running;

    /// <summary>How many names are cached with their addresses.</summary>
    public int Kept => _answers.Count;

    public ulong NextTicket() => Interlocked.Increment(ref _tickets);

    /// <summary>The endpoints of a name and port.</summary>
    /// <param name="dnsName">In lower case, without a trailing dot.</param>
    /// <param name="port">The port of the endpoints.</param>
    /// <param name="connection">The caller's connection.</param>
    /// <param name="cancel">Cancelled when the caller no longer waits.</param>
    /// <returns>Null when too many lookups are running.</returns>
    public async ValueTask<AdhocTarget?> ResolveAsync(
        string dnsName, ushort port, ConnectionLookups? connection, CancellationToken cancel)
    {
        var key = (dnsName, port);
        if (!_targets.TryGetValue(key, out var target) || Clock.Now >= target.ExpiresAt)
        {
            if (await AnswerAsync(dnsName, connection, cancel) is not { } answer)
            {
                return null;
            }
            target = TargetOf(dnsName, port, answer);
            Keep(_targets, key, target);
        }
        // Not cached, because the addresses of this host may change.
        return !allowLoopback
            && Array.Exists(target.Endpoints.Endpoints, endpoint => ownPorts.Contains(endpoint.Resolved.Address))
            ? target with
            {
                Endpoints = EndpointSet.Empty,
                Refusal = $"the name leads to port {port} of this host, which is one of kedge itself",
            }
            : target;
    }

    /// <summary>The addresses of a name, regardless of the port.</summary>
    private async ValueTask<Answer?> AnswerAsync(
        string dnsName, ConnectionLookups? connection, CancellationToken cancel)
    {
        if (_answers.TryGetValue(dnsName, out var known) && Clock.Now < known.ExpiresAt)
        {
            return known;
        }
        if (await lookups.AddressesAsync(dnsName, connection, cancel) is not { } found)
        {
            return null;
        }
        var answer = new Answer(found.Records, Clock.Now + Clamp(found.Ttl).Ticks);
        Keep(_answers, dnsName, answer);
        return answer;
    }

    private AdhocTarget TargetOf(string dnsName, ushort port, Answer answer)
    {
        var endpoints = new List<Endpoint>();
        foreach (var address in answer.Addresses)
        {
            if (AddressPolicy.refusal(address, allowLoopback) is { } kind)
            {
                // One forbidden address among others is a sign of DNS rebinding, so the whole name is rejected.
                return new(EndpointSet.Empty, $"the name resolves to a {kind} address", answer.ExpiresAt);
            }
            endpoints.Add(new Endpoint(ResolvedEndpoint.Of(address, port, dnsName)));
        }
        return new(new EndpointSet([.. endpoints], Balancer.RoundRobin), null, answer.ExpiresAt);
    }

    private static void Keep<TKey, T>(ConcurrentDictionary<TKey, T> cache, TKey key, T value)
        where TKey : notnull
    {
        if (cache.Count >= MaxCached)
        {
            // Bounds the cache when callers keep sending new names, at the cost of more lookups.
            cache.Clear();
        }
        cache[key] = value;
    }

    private static TimeSpan Clamp(TimeSpan ttl) =>
        ttl == Timeout.InfiniteTimeSpan || ttl > MaxTtl ? MaxTtl
        : ttl < MinTtl ? MinTtl
        : ttl;

    /// <param name="Addresses">Empty when the name has none.</param>
    /// <param name="ExpiresAt">By <see cref="Clock"/>.</param>
    private sealed record Answer(IReadOnlyList<IPAddress> Addresses, long ExpiresAt);
}
