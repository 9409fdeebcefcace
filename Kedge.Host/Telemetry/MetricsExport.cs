using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;

namespace Kedge.Host.Telemetry;

/// <summary>
/// Exports the meter to Prometheus, which scrapes the debug port, and to an OTLP collector if
/// OTEL_EXPORTER_OTLP_ENDPOINT is set.
/// </summary>
public static class MetricsExport
{
    // A metric with more series sums up the rest under `otel_metric_overflow`.
    private const int MaxSeries = 5000;

    /// <param name="forPrometheus">Whether there is a page to scrape.</param>
    /// <returns>Null when nothing collects the metrics: instruments without a listener cost nothing.</returns>
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
                or "grpc_server_msg_received_total" or "grpc_server_msg_sent_total"
                or "grpc_client_started_total" or "grpc_client_handled_total"
                or "grpc_client_msg_received_total" or "grpc_client_msg_sent_total"
                ? new MetricStreamConfiguration { CardinalityLimit = MaxSeries }
                : null);
        if (forPrometheus)
        {
            builder.AddPrometheusExporter(options =>
            {
                // Existing dashboards rely on the exact names: no suffix and no label is added.
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
