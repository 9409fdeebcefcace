using System.Runtime.CompilerServices;
using Kedge.Domain;

namespace Kedge.Host.Telemetry;

/// <summary>
/// How many requests matched a route or ad-hoc rule. The count survives reloads as long as the rule exists.
/// </summary>
public sealed class RuleHits
{
    private readonly StrongBox<long> _count;

    public RuleHits(RouteInfo info)
        : this(info, new StrongBox<long>())
    {
    }

    private RuleHits(RouteInfo info, StrongBox<long> count)
    {
        Info = info;
        _count = count;
    }

    public RouteInfo Info { get; }

    /// <summary>The rule for traces: its conditions, after its name and place if it has a name.</summary>
    public string Label => field ??= Info.Name.Length == 0
        ? Info.Rule
        : $"{Info.Name} ({Path.GetFileName(Info.File)}:{Info.Line}): {Info.Rule}";

    public long Count => Volatile.Read(ref _count.Value);

    /// <summary>
    /// The hits of the rules of a configuration. A rule with the same name as a previous one, or without a name and
    /// with the same conditions and backend, keeps its count.
    /// </summary>
    /// <param name="rules">In the order of the configuration.</param>
    /// <param name="previous">The hits of the previous configuration; null when there was none.</param>
    public static RuleHits[] Of(IReadOnlyList<RouteInfo> rules, RuleHits[]? previous)
    {
        previous ??= [];
        var result = new RuleHits[rules.Count];
        // Most changes concern few rules among many: skip the equal ones at the beginning and at the end.
        int first = 0, last = result.Length, lastPrevious = previous.Length;
        while (first < last && first < lastPrevious && IsSame(previous[first].Info, rules[first]))
        {
            result[first] = previous[first].For(rules[first]);
            first++;
        }
        while (last > first && lastPrevious > first && IsSame(previous[lastPrevious - 1].Info, rules[last - 1]))
        {
            result[--last] = previous[--lastPrevious].For(rules[last]);
        }
        var known = new Dictionary<(bool, string, string), Queue<RuleHits>>();
        foreach (var hits in previous.AsSpan(first, lastPrevious - first))
        {
            var key = KeyOf(hits.Info);
            if (!known.TryGetValue(key, out var same))
            {
                known[key] = same = new();
            }
            same.Enqueue(hits);
        }
        for (var i = first; i < last; i++)
        {
            var info = rules[i];
            result[i] = known.TryGetValue(KeyOf(info), out var same) && same.TryDequeue(out var hits)
                ? hits.For(info)
                : new RuleHits(info);
        }
        return result;
    }

    public void Hit() => Interlocked.Increment(ref _count.Value);

    // A name may look like the conditions of a rule that has none.
    private static (bool, string, string) KeyOf(RouteInfo info) =>
        info.Name.Length > 0 ? (true, info.Name, "") : (false, info.Rule, info.BackendName);

    private static bool IsSame(RouteInfo left, RouteInfo right) => KeyOf(left) == KeyOf(right);

    /// <summary>The same count for the rule as another configuration defines it.</summary>
    private RuleHits For(RouteInfo info) => ReferenceEquals(info, Info) ? this : new(info, _count);
}
