using OpenTelemetry.Metrics;

namespace Kedge.Host.Debug;

/// <summary>The metrics, for Prometheus. Open to everyone, like the health pages.</summary>
public sealed class MetricsPage : IDebugPage
{
    private readonly RequestDelegate _scrape;

    public MetricsPage(string path, MeterProvider provider)
    {
        Path = path;
        var pipeline = new ApplicationBuilder(new ServiceCollection().BuildServiceProvider());
        pipeline.UseOpenTelemetryPrometheusScrapingEndpoint(provider, static _ => true, null, null, null);
        _scrape = pipeline.Build();
    }

    public string Path { get; }

    public bool IsOpen => true;

    public Task AnswerAsync(HttpContext context)
    {
        // Prometheus prefers OpenMetrics, whose counters must end in `_total`. Some of the names that existing
        // dashboards use do not.
        context.Request.Headers.Accept = "text/plain; version=0.0.4";
        return _scrape(context);
    }
}
