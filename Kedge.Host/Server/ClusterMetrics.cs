using System.Diagnostics.Metrics;
using Kedge.Domain.Discovery;
using Kedge.Host.Configurations;
using Kedge.Host.Kubernetes;

namespace Kedge.Host.Server;

/// <summary>Metrics of the watches on the API server, and of what discovery makes of the services.</summary>
internal static class ClusterMetrics
{
    // A label's values come from services, whose owners are not the operator: there is an end to them.
    private const int MostConflicts = 1000;

    public static void Watches(Meter meter, KubernetesCluster cluster)
    {
        meter.CreateObservableGauge("kedge_watch_up",
            () => from watch in cluster.Watches select new Measurement<int>(watch is { Error: null, IsSynced: true } ? 1 : 0, Label(watch)),
            description: "1 = a watch on the API server stands and had a full list.");
        meter.CreateObservableCounter("kedge_watch_restarts_total",
            () => from watch in cluster.Watches select new Measurement<long>(watch.Restarts, Label(watch)),
            description: "How often a watch was begun again.");
        meter.CreateObservableGauge("kedge_watch_last_event_timestamp_seconds",
            () => from watch in cluster.Watches
                  where watch.LastEvent is not null
                  select new Measurement<long>(watch.LastEvent!.Value.ToUnixTimeSeconds(), Label(watch)),
            description: "When the API server last said anything on a watch.");
    }

    public static void Discovery(Meter meter, DiscoveryPublisher discovery)
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
            description: "What discovery cannot use as it is, by kind.");
        var known = new HashSet<(string, string, string, string)>();
        meter.CreateObservableGauge("kedge_discovery_conflict",
            () =>
            {
                var now = (discovery.Latest?.Conflicts ?? []).Take(MostConflicts).Select(Labels).ToHashSet();
                lock (known)
                {
                    // A metric keeps the last value of a series for good: one that is over is told once more to be so.
                    known.UnionWith(now);
                    var all = known.Select(conflict => Conflict(conflict, now.Contains(conflict) ? 1 : 0)).ToArray();
                    if (known.Count > MostConflicts)
                    {
                        known.IntersectWith(now);
                    }
                    return all;
                }
            },
            description: "1 = a service's claim is not served because another has it.");
    }

    private static KeyValuePair<string, object?> Label(WatchHealth watch) => new("watch", watch.Name);

    private static Measurement<int> Notices(int count, string kind) => new(count, new KeyValuePair<string, object?>("kind", kind));

    private static (string Host, string Port, string Loser, string Winner) Labels(Conflict conflict) =>
        (conflict.Host, conflict.Port.ToString(System.Globalization.CultureInfo.InvariantCulture), conflict.Loser.ToString(), conflict.Winner.Describe());

    private static Measurement<int> Conflict((string Host, string Port, string Loser, string Winner) conflict, int value) =>
        new(value, new("host", conflict.Host), new("port", conflict.Port), new("loser", conflict.Loser), new("winner", conflict.Winner));
}
