using Kedge.Host.Flags;
using Kedge.Pages;
using OpenTelemetry.Metrics;

namespace Kedge.Host.Debug;

/// <summary>The pages of the debug port.</summary>
internal static class DebugPages
{
    /// <param name="facts">What the pages show.</param>
    /// <param name="flags">The flags, for their page.</param>
    /// <param name="metricsPath">The path of the metrics; empty = no such page.</param>
    /// <param name="metrics">The metrics; null = no such page.</param>
    public static IReadOnlyList<IDebugPage> Of(
        DebugFacts facts, FlagValues flags, string metricsPath, MeterProvider? metrics)
    {
        List<IDebugPage> pages =
            [new HealthzPage(facts.Health), new ReadyzPage(facts.Health), new VersionPage(facts.Started)];
        if (metrics is not null && metricsPath.Length > 0)
        {
            pages.Add(new MetricsPage(metricsPath, metrics));
        }
        pages.AddRange(
        [
            new StatusPage(facts),
            new RoutesPage(facts),
            new RoutePage(facts),
            new ExplainPage(facts),
            new RequestsPage(facts),
            new LimitsPage(facts),
            new FlagsPage(facts, flags),
            new ConfigurationPage(facts.Store),
            new ConfigurationFilePage(facts.Store, "director.json", static configuration => configuration.DirectorJson),
            new ConfigurationFilePage(facts.Store, "backendpool.json", static configuration => configuration.PoolJson),
            new AssetPage("/debug/kedge.css", "text/css; charset=utf-8", Assets.css),
            new AssetPage("/debug/kedge.js", "text/javascript; charset=utf-8", Assets.script),
        ]);
        return [new IndexPage(pages), .. pages];
    }
}
