using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Diagnostics;
using System.Net;
using Kedge.Domain;
using LimitScale = Kedge.Domain.Decoded.LimitScale;

namespace Kedge.Host.RateLimits;

/// <summary>
/// The rate limits of the active configuration. A limit that keeps its name and key keeps its buckets across reloads.
/// One per process.
/// </summary>
/// <param name="clientAddressOf">Returns the address of a request's caller.</param>
/// <param name="countsReplicas">Whether the replicas of kedge are counted.</param>
/// <param name="logger">Where it warns of limits that cannot be enforced as configured.</param>
internal sealed class RateLimiter(
    Func<HttpContext, IPAddress?> clientAddressOf, bool countsReplicas, ILogger logger)
{
    private readonly ConcurrentDictionary<string, LimitCounters> _counters = new();
    private FrozenDictionary<string, ActiveLimit> _active = FrozenDictionary<string, ActiveLimit>.Empty;

    /// <summary>Nanoseconds on a clock that never goes backward.</summary>
    public static long Now => Stopwatch.GetElapsedTime(0).Ticks * TimeSpan.NanosecondsPerTick;

    public ReplicaCount Replicas { get; } = new();

    public IEnumerable<ActiveLimit> Active => Volatile.Read(ref _active).Values;

    public IEnumerable<LimitCounters> Counters => _counters.Values;

    /// <summary>Activates the limits of a configuration.</summary>
    /// <returns>The limiter of each route, in the order of the routes; null for a route without limits.</returns>
    public PerProtocol<RouteLimiter?[]> Apply(Configuration configuration)
    {
        var before = _active;
        var now = Now;
        var next = configuration.Director.RateLimits.ToFrozenDictionary(
            limit => limit.Name,
            limit => Activate(limit, before.GetValueOrDefault(limit.Name), now));
        Volatile.Write(ref _active, next);
        return PerProtocol.Init(
            protocol => configuration.Routes[protocol].Select(route => RouteLimiterOf(route, next)).ToArray());
    }

    private RouteLimiter? RouteLimiterOf(RouteInfo route, FrozenDictionary<string, ActiveLimit> active) =>
        route.Limits is { } limits
            ? new RouteLimiter(route, [.. limits.Limits.Select(limit => active[limit.Name])], clientAddressOf)
            : null;

    private ActiveLimit Activate(RateLimit limit, ActiveLimit? before, long now)
    {
        if (limit.Scale == LimitScale.AllReplicas && !countsReplicas)
        {
            logger.LogWarning(
                "the rate limit {Limit} is one of all replicas, but --kedge_service is not given: each replica allows "
                + "all of it",
                limit.Name);
        }
        var counters = _counters.GetOrAdd(limit.Name, static name => new LimitCounters(name));
        var table = before is null || !before.HasSameKeys(limit) ? new BucketTable(limit.MaxKeys)
            : before.Limit.MaxKeys == limit.MaxKeys ? before.Table
            : before.Table.Resized(limit.MaxKeys, now);
        return new ActiveLimit(limit, table, counters, Replicas);
    }
}
