using Kedge.Domain;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Routing;

/// <summary>What a request matched: a route, an ad-hoc rule, or nothing.</summary>
/// <param name="Rule">The route or ad-hoc rule; null when there is none.</param>
/// <param name="Adhoc">The decision of the ad-hoc rule; null for a route, and when nothing matched.</param>
internal readonly record struct RuleMatch(RuleHits? Rule, AdhocDecision? Adhoc)
{
    public static RuleMatch None => default;

    public static RuleMatch Route(RuleHits route) => new(route, null);
}
