using Kedge.Domain;

namespace Kedge.Host.Backends;

/// <summary>Health policies that do not come from a backend of the configuration.</summary>
internal static class HealthPolicies
{
    /// <summary>
    /// An endpoint that refused a connection is left out for <paramref name="backoff"/> (zero or less = not at all). No
    /// outlier detection and no health checks.
    /// </summary>
    public static HealthPolicy ConnectBackoffOnly(TimeSpan backoff) => new(
        connectBackoff: Math.Max(0, backoff.Ticks),
        ejectAfter: 0,
        ejectionTime: 0,
        maxEjectionPercent: 100,
        healthyThreshold: 1,
        unhealthyThreshold: 1);
}
