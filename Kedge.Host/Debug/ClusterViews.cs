using Kedge.Host.Configurations;
using Kedge.Host.Kubernetes;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>What the status page says of the cluster.</summary>
internal static class ClusterViews
{
    public static IEnumerable<NoticeView> Notices(DiscoveryPublisher discovery)
    {
        if (discovery.Latest is not { } generated)
        {
            return [new NoticeView("waiting", "services", "the first full list is not in yet", Tone.Warning)];
        }
        return
        [
            .. generated.Quarantined.Select(entry => new NoticeView("quarantined", entry.Service.ToString(), entry.Describe(), Tone.Bad)),
            .. generated.Conflicts.Select(entry => new NoticeView("conflict", entry.Loser.ToString(), entry.Describe(), Tone.Warning)),
            .. generated.OverriddenBackends.Select(entry => new NoticeView("overridden", entry.Service.ToString(), entry.Describe(), Tone.Quiet)),
            .. generated.IgnoredPorts.Select(entry => new NoticeView("ignored port", entry.Service.ToString(), entry.Describe(), Tone.Quiet)),
        ];
    }

    public static IEnumerable<DependencyView> Watches(KubernetesCluster cluster) =>
        from watch in cluster.Watches
        let age = watch.LastEvent is { } last ? $"last word {(int)(DateTimeOffset.UtcNow - last).TotalSeconds} s ago" : "no word yet"
        select new DependencyView(
            $"watch of {watch.Name}",
            watch.Error is not null ? "failing" : watch.IsSynced ? "live" : "starting",
            watch.Error is not null ? Tone.Bad : watch.IsSynced ? Tone.Good : Tone.Warning,
            $"{age}, {watch.Events} events, {watch.Lists} lists, {watch.Restarts} restarts{(watch.Error is { } error ? ": " + error : "")}");
}
