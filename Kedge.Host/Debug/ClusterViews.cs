using Kedge.Host.Configurations;
using Kedge.Host.Kubernetes;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>What the status page shows of the cluster.</summary>
internal static class ClusterViews
{
    public static IEnumerable<NoticeView> Notices(DiscoveryPublisher discovery)
    {
        if (discovery.Latest is not { } generated)
        {
            return [new NoticeView("waiting", "services", "the first complete list has not arrived yet", Tone.Warning)];
        }
        return
        [
            .. from entry in generated.Quarantined
               select new NoticeView("quarantined", entry.Service.ToString(), entry.Describe(), Tone.Bad),
            .. from entry in generated.Conflicts
               select new NoticeView("conflict", entry.Loser.ToString(), entry.Describe(), Tone.Warning),
            .. from entry in generated.OverriddenBackends
               select new NoticeView("overridden", entry.Service.ToString(), entry.Describe(), Tone.Quiet),
            .. from entry in generated.IgnoredPorts
               select new NoticeView("ignored port", entry.Service.ToString(), entry.Describe(), Tone.Quiet),
        ];
    }

    public static IEnumerable<DependencyView> Watches(KubernetesCluster cluster) =>
        from watch in cluster.Watches
        let state = StateOf(watch)
        select new DependencyView($"watch of {watch.Name}", state.Name, state.Tone, DetailOf(watch));

    private static (string Name, Tone Tone) StateOf(WatchHealth watch) => watch switch
    {
        { Error: not null } => ("failing", Tone.Bad),
        { IsSilent: true } => ("silent", Tone.Warning),
        { IsSynced: true } => ("live", Tone.Good),
        _ => ("starting", Tone.Warning),
    };

    private static string DetailOf(WatchHealth watch)
    {
        var age = watch.LastEvent is { } last
            ? $"last event {(int)(DateTimeOffset.UtcNow - last).TotalSeconds} s ago"
            : "no event yet";
        var detail = $"{age}, {watch.Events} events, {watch.Lists} lists, {watch.Restarts} restarts";
        return watch.Error is { } error ? $"{detail}: {error}" : detail;
    }
}
