using System.Diagnostics;
using System.Net.Http.Headers;
using OpenTelemetry;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Kedge.Host.Telemetry;

/// <summary>
/// Spans by OpenTelemetry: one for a request, below it one for routing and one for forwarding. While nobody listens, nothing is
/// made, and the trace headers of callers pass as they are.
/// </summary>
public static class Tracing
{
    public const string TraceParent = "traceparent";
    public const string TraceState = "tracestate";

    private static readonly ActivitySource Source = new("kedge");

    /// <summary>Exports spans over OTLP where OTEL_EXPORTER_OTLP_ENDPOINT says; null when it says nothing.</summary>
    public static TracerProvider? Export() => !Otlp.IsConfigured
        ? null
        : Sdk.CreateTracerProviderBuilder()
            .ConfigureResource(Otlp.Describe)
            .AddSource(Source.Name)
            .AddOtlpExporter()
            .Build();

    public static Activity? StartRequest(HttpRequest request)
    {
        if (!Source.HasListeners())
        {
            return null;
        }
        ActivityContext.TryParse(request.Headers[TraceParent], request.Headers[TraceState], isRemote: true, out var parent);
        var activity = Source.StartActivity("request", ActivityKind.Server, parent);
        if (activity is { IsAllDataRequested: true })
        {
            activity.SetTag("http.request.method", request.Method);
        }
        return activity;
    }

    /// <summary>Null also when the request's span is one that the sampler leaves out.</summary>
    public static Activity? StartRouting(RequestRecord record) =>
        record.Activity is { IsAllDataRequested: true } ? Source.StartActivity("route") : null;

    /// <summary>The same; a request that is left out is passed on with the span that the request has, if it has one.</summary>
    public static Activity? StartForwarding(RequestRecord record) =>
        record.Activity is { IsAllDataRequested: true } ? Source.StartActivity("forward", ActivityKind.Client) : null;

    /// <summary>Puts the span's context in the place of the caller's.</summary>
    public static void Inject(Activity span, HttpRequestHeaders headers)
    {
        headers.Remove(TraceParent);
        headers.TryAddWithoutValidation(TraceParent, span.Id);
        if (span.TraceStateString is { Length: > 0 } state)
        {
            headers.Remove(TraceState);
            headers.TryAddWithoutValidation(TraceState, state);
        }
    }

    public static void End(RequestRecord record)
    {
        if (record.Activity is not { } activity)
        {
            return;
        }
        if (!activity.IsAllDataRequested)
        {
            activity.Dispose();
            return;
        }
        activity.SetTag("server.address", record.Authority);
        activity.SetTag("url.path", record.Path);
        activity.SetTag("kedge.request_id", record.RequestId);
        activity.SetTag("kedge.rule", record.Rule?.Info.Rule);
        activity.SetTag("kedge.backend", record.Backend?.Name);
        activity.SetTag("kedge.endpoint", record.Endpoint?.ToString());
        activity.SetTag(record.IsGrpc ? "rpc.grpc.status_code" : "http.response.status_code", record.Status);
        if (record.Failure is { } failure)
        {
            activity.SetTag("error.type", failure.Type);
            activity.SetStatus(ActivityStatusCode.Error, failure.Reason);
        }
        activity.Dispose();
    }
}

/// <summary>Whether, and as what, telemetry is sent to a collector.</summary>
internal static class Otlp
{
    public static bool IsConfigured => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("OTEL_EXPORTER_OTLP_ENDPOINT"));

    public static void Describe(ResourceBuilder resource) => resource
        .AddService("kedge", serviceVersion: BuildInfo.Version)
        .AddEnvironmentVariableDetector();
}
