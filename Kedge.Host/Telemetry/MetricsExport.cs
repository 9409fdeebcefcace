using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;

namespace Kedge.Host.Telemetry;

/// <summary>
/// Brings the meter to those who ask: Prometheus, which scrapes the debug port, and an OTLP collector where
/// OTEL_EXPORTER_OTLP_ENDPOINT is set.
/// </summary>
public static class MetricsExport
{
    // Beyond this many series a metric adds up the rest under `otel_metric_overflow`.
    private const int MostSeries = 5000;

    /// <param name="forPrometheus">Whether there is a page to scrape.</param>
    /// <returns>Null when nobody asks: instruments that nobody listens to cost nothing.</returns>
    public static MeterProvider? Create(bool forPrometheus)
    {
        if (!forPrometheus && !Otlp.IsConfigured)
        {
            return null;
        }
        var builder = Sdk.CreateMeterProviderBuilder()
            .ConfigureResource(Otlp.Describe)
            .AddMeter(ProxyTelemetry.MeterName)
            .AddView(static instrument => instrument.Name is "kedge_requests_total" or "kedge_backend_endpoint_ready"
                or "grpc_server_started_total" or "grpc_server_handled_total"
                or "grpc_client_started_total" or "grpc_client_handled_total"
                ? new MetricStreamConfiguration { CardinalityLimit = MostSeries }
                : null);
        if (forPrometheus)
        {
            builder.AddPrometheusExporter(options =>
            {
                // The names are those that dashboards know: nothing is added to them, and no label.
                options.TranslationStrategy = PrometheusAspNetCoreTranslationStrategy.UnderscoreEscapingWithoutSuffixes;
                options.ScopeInfoEnabled = false;
                options.TargetInfoEnabled = false;
                options.ScrapeResponseCacheDurationMilliseconds = 0;
            });
        }
        if (Otlp.IsConfigured)
        {
            builder.AddOtlpExporter();
        }
        return builder.Build();
    }
}
