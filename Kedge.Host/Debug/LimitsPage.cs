using Kedge.Host.RateLimits;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>The rate limits, each with the callers that have used the most of it.</summary>
public sealed class LimitsPage(DebugFacts facts) : IDebugPage
{
    private const int MostKeys = 20;

    public string Path => "/debug/limits";

    public Task AnswerAsync(HttpContext context) => PageResponse.ViewAsync(context, View(), LimitsHtml.render);

    private LimitsView View()
    {
        var now = RateLimiter.Now;
        var limiter = facts.Router.Limiter;
        var limits = limiter.Active.OrderBy(limit => limit.Limit.Name, StringComparer.Ordinal);
        return new LimitsView(
            facts.Server, limiter.Replicas.Count, [.. limits.Select(limit => Of(limit, now))]);
    }

    private static LimitView Of(ActiveLimit limit, long now)
    {
        var counts = limit.Counters.All.ToDictionary(entry => entry.Decision, entry => entry.Count);
        return new LimitView(
            limit.Limit.Name,
            limit.Limit.RateText,
            limit.Limit.KeyText,
            limit.Table.Count(now),
            limit.Limit.MaxKeys,
            counts["allowed"],
            counts["refused"],
            counts["shadow_refused"],
            counts["overflow"],
            [.. Busiest(limit, now)]);
    }

    /// <summary>The keys whose buckets take the longest to become empty, the longest first.</summary>
    private static IEnumerable<LimitKeyView> Busiest(ActiveLimit limit, long now)
    {
        var busiest = new PriorityQueue<UInt128, long>(MostKeys + 1);
        limit.Table.ForEach(now, (key, time) =>
        {
            busiest.Enqueue(key, time);
            if (busiest.Count > MostKeys)
            {
                busiest.Dequeue();
            }
        });
        return busiest.UnorderedItems
            .OrderByDescending(entry => entry.Priority)
            .Select(entry => new LimitKeyView(limit.TextOf(entry.Element), (entry.Priority - now) / 1e9));
    }
}
