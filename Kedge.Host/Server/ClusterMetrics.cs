using System.Diagnostics.Metrics;
using System.Globalization;
using Kedge.Domain.Discovery;
using Kedge.Host.Configurations;
using Kedge.Host.Kubernetes;

namespace Kedge.Host.Server;

/// <summary>Metrics of the watches on the API server, and of what discovery generates from the services.</summary>
internal static class ClusterMetrics
{
    // The label values come from services, whose owners need not be trustworthy, so their number is bounded.
    private const int MaxConflicts = 1000;

    /// <param name="discovery">Null = discovery is off.</param>
    public static void Register(Meter meter, KubernetesCluster cluster, DiscoveryPublisher? discovery)
    {
        Watches(meter, cluster);
        if (discovery is not null)
        {
            Discovery(meter, discovery);
        }
    }

    private static void Watches(Meter meter, KubernetesCluster cluster)
    {
        meter.CreateObservableGauge("kedge_watch_up",
            () => from watch in cluster.Watches
                  select new Measurement<int>(watch.IsLive ? 1 : 0, Label(watch)),
            description: "1 = a watch on the API server has a complete list and hears from the API server.");
        meter.CreateObservableCounter("kedge_watch_restarts_total",
            () => from watch in cluster.Watches select new Measurement<long>(watch.Restarts, Label(watch)),
            description: "How often a watch was restarted.");
        meter.CreateObservableGauge("kedge_watch_last_event_timestamp_seconds",
            () => from watch in cluster.Watches
                  where watch.LastEvent is not null
                  select new Measurement<long>(watch.LastEvent!.Value.ToUnixTimeSeconds(), Label(watch)),
            description: "When the API server last sent an event on a watch.");
    }

    private static void Discovery(Meter meter, DiscoveryPublisher discovery)
    {
        meter.CreateObservableGauge("kedge_discovery_services", () => discovery.ServiceCount,
            description: "Services that carry the label.");
        meter.CreateObservableGauge("kedge_discovery_notices",
            () => discovery.Latest is not { } generated
                ? []
                : new[]
                {
                    Notices(generated.Conflicts.Length, "conflict"),
                    Notices(generated.Quarantined.Length, "quarantined"),
                    Notices(generated.IgnoredPorts.Length, "ignored_port"),
                    Notices(generated.OverriddenBackends.Length, "overridden"),
                },
            description: "Entries that discovery cannot use as they are, by kind.");
        var known = new HashSet<ConflictLabels>();
        meter.CreateObservableGauge("kedge_discovery_conflict",
            () =>
            {
                var now = (discovery.Latest?.Conflicts ?? []).Take(MaxConflicts).Select(LabelsOf).ToHashSet();
                lock (known)
                {
                    // A metric keeps the last value of a series forever, so a conflict that is over is still reported,
                    // as 0.
                    known.UnionWith(now);
                    var all = known.Select(conflict => conflict.Measure(now.Contains(conflict) ? 1 : 0)).ToArray();
                    if (known.Count > MaxConflicts)
                    {
                        known.IntersectWith(now);
                    }
                    return all;
                }
            },
            description: "1 = a claim of a service is not served, because it conflicts with another.");
    }

    private static KeyValuePair<string, object?> Label(WatchHealth watch) => new("watch", watch.Name);

    private static Measurement<int> Notices(int count, string kind) =>
        new(count, new KeyValuePair<string, object?>("kind", kind));

    private static ConflictLabels LabelsOf(Conflict conflict) => new(
        conflict.Host,
        conflict.Port.ToString(CultureInfo.InvariantCulture),
        conflict.Loser.ToString(),
        conflict.Winner.Describe());

    private sealed record ConflictLabels(string Host, string Port, string Loser, string Winner)
    {
        public Measurement<int> Measure(int value) =>
            new(value, new("host", Host), new("port", Port), new("loser", Loser), new("winner", Winner));
    }
}
