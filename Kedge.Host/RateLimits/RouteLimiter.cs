using System.Net;
using System.Runtime.CompilerServices;
using Kedge.Domain;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;

namespace Kedge.Host.RateLimits;

/// <summary>The rate limits of a route.</summary>
internal sealed class RouteLimiter
{
    /// <summary>The maximum number of limits of a route; validation rejects more.</summary>
    private const int Most = 8;

    private readonly ActiveLimit[] _beforeToken;
    private readonly ActiveLimit[] _afterToken;
    private readonly string _route;
    private readonly bool _hasHeaders;
    private readonly Func<HttpContext, IPAddress?> _clientAddressOf;

    public RouteLimiter(
        RouteInfo route, IReadOnlyList<ActiveLimit> limits, Func<HttpContext, IPAddress?> clientAddressOf)
    {
        // In the order in which their buckets must be locked.
        var ordered = limits.OrderBy(limit => limit.Table.Order).ToLookup(limit => limit.Limit.IsAfterToken);
        _beforeToken = [.. ordered[false]];
        _afterToken = [.. ordered[true]];
        _route = $"{route.Key}\n{route.BackendName}";
        _hasHeaders = route.Limits is { Headers: true };
        _clientAddressOf = clientAddressOf;
    }

    /// <summary>Whether there are limits that kedge checks after it verifies the caller's token.</summary>
    public bool HasAfterToken => _afterToken.Length > 0;

    /// <summary>
    /// Checks the limits that need no token. Charges all of them or, if one refuses, none; likewise for
    /// <see cref="AskAfterToken"/>.
    /// </summary>
    /// <returns>Null = the request is allowed.</returns>
    public LocalReply? AskBeforeToken(HttpContext context, in RequestView view, RequestRecord record) =>
        _beforeToken.Length == 0 ? null : Ask(_beforeToken, context, view, record);

    /// <summary>Checks the limits that depend on the caller's token.</summary>
    public LocalReply? AskAfterToken(HttpContext context, in RequestView view, RequestRecord record) =>
        _afterToken.Length == 0 ? null : Ask(_afterToken, context, view, record);

    private LocalReply? Ask(ActiveLimit[] limits, HttpContext context, in RequestView view, RequestRecord record)
    {
        var request = new LimitedRequest(context, view.Host, _route, _clientAddressOf);
        Span<BucketKey> keys = stackalloc BucketKey[Most];
        Span<int> asked = stackalloc int[Most];
        var count = 0;
        for (var i = 0; i < limits.Length; i++)
        {
            var key = request.KeyOf(limits[i]);
            if (key.Kind != BucketKind.None)
            {
                (keys[count], asked[count]) = (key, i);
                count++;
            }
        }
        Span<Gcra> shares = stackalloc Gcra[count];
        Span<long> buckets = stackalloc long[count];
        Span<long> waits = stackalloc long[count];
        var now = RateLimiter.Now;
        var isAllowed = Decide(limits, asked[..count], keys, shares, buckets, waits, now);
        for (var i = 0; i < count; i++)
        {
            Count(limits[asked[i]], waits[i], isAllowed, record);
        }
        if (_hasHeaders)
        {
            LimitHeaders.Add(context, limits, asked[..count], shares, buckets, now);
        }
        return isAllowed ? null : Refusal(limits, asked[..count], waits);
    }

    /// <summary>Checks the limits with all their buckets locked, so that either all are charged or none.</summary>
    private static bool Decide(
        ActiveLimit[] limits,
        ReadOnlySpan<int> asked,
        ReadOnlySpan<BucketKey> keys,
        Span<Gcra> shares,
        Span<long> buckets,
        Span<long> waits,
        long now)
    {
        var held = new HeldBuckets();
        Span<bool> shadow = stackalloc bool[asked.Length];
        var entered = 0;
        var isAllowed = false;
        try
        {
            for (var i = 0; i < asked.Length; i++)
            {
                var limit = limits[asked[i]];
                (shares[i], shadow[i]) = (limit.Share, limit.IsShadow);
                limit.Table.Enter(keys[i], now, out held[i]);
                entered++;
                buckets[i] = held[i].Time;
                if (held[i].IsOverflow)
                {
                    limit.Counters.Overflow();
                }
            }
            isAllowed = Gcra.AskAll(shares, shadow, buckets, waits, now);
        }
        finally
        {
            for (var i = entered - 1; i >= 0; i--)
            {
                held[i].Time = buckets[i];
                BucketTable.Leave(keys[i], ref held[i], isCharged: isAllowed && waits[i] == 0);
            }
        }
        return isAllowed;
    }

    private static void Count(ActiveLimit limit, long wait, bool isAllowed, RequestRecord record)
    {
        if (wait > 0)
        {
            limit.Counters.Refused(limit.IsShadow);
            if (limit.IsShadow)
            {
                record.ShadowLimit ??= limit.Limit.Name;
            }
        }
        else if (isAllowed)
        {
            limit.Counters.Allowed();
        }
    }

    /// <summary>The reply for the limit with the longest wait.</summary>
    private static LocalReply Refusal(ActiveLimit[] limits, ReadOnlySpan<int> asked, ReadOnlySpan<long> waits)
    {
        var (longest, wait) = (-1, 0L);
        for (var i = 0; i < asked.Length; i++)
        {
            if (waits[i] > wait && !limits[asked[i]].IsShadow)
            {
                (longest, wait) = (asked[i], waits[i]);
            }
        }
        var ticks = (wait + TimeSpan.NanosecondsPerTick - 1) / TimeSpan.NanosecondsPerTick;
        return LocalReply.RateLimited(limits[longest].Limit.Name, TimeSpan.FromTicks(ticks));
    }

    [InlineArray(Most)]
    private struct HeldBuckets
    {
        private HeldBucket _first;
    }
}
