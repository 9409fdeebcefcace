using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Net.Http.Headers;
using Kedge.Host.Http;
using OpenTelemetry;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Kedge.Host.Telemetry;

/// <summary>
/// Spans by OpenTelemetry: one for a request, below it one for routing and one for forwarding, and below that one for each
/// choice of an endpoint. While nobody listens, nothing is made, and the trace headers of callers pass as they are.
/// </summary>
public static class Tracing
{
    public const string TraceParent = "traceparent";
    public const string TraceState = "tracestate";

    private const string HttpStatus = "http.response.status_code";
    private const string GrpcStatus = "rpc.grpc.status_code";

    private static readonly ActivitySource Source = new("kedge");

    /// <summary>
    /// Exports spans over OTLP where OTEL_EXPORTER_OTLP_ENDPOINT says; null when it says nothing. Traces of callers are
    /// followed as the caller says, and OTEL_TRACES_SAMPLER may say otherwise.
    /// </summary>
    /// <param name="perSecond">How many traces may begin here each second, unless OTEL_TRACES_SAMPLER is set.</param>
    public static TracerProvider? Export(int perSecond)
    {
        if (!Otlp.IsConfigured)
        {
            return null;
        }
        var builder = Sdk.CreateTracerProviderBuilder()
            .ConfigureResource(Otlp.Describe)
            .AddSource(Source.Name)
            .AddOtlpExporter();
        // The SDK looks at the variable only when there is no sampler.
        if (string.IsNullOrWhiteSpace(Environment.GetEnvironmentVariable("OTEL_TRACES_SAMPLER")))
        {
            builder.SetSampler(new ParentBasedSampler(new RateLimitedSampler(perSecond, TimeProvider.System)));
        }
        return builder.Build();
    }

    /// <summary>
    /// Null while nobody listens. The span of a request that the sampler leaves out is not started: it is for
    /// <see cref="Inject"/> alone.
    /// </summary>
    public static Activity? StartRequest(HttpRequest request)
    {
        if (!Source.HasListeners())
        {
            return null;
        }
        ActivityContext.TryParse(request.Headers[TraceParent], request.Headers[TraceState], isRemote: true, out var parent);
        var span = Source.CreateActivity("request", ActivityKind.Server, parent);
        // Whatever is current goes along with each step of the request, which costs: one that is left out is not started.
        return IsRecording(span) ? span.Start() : span;
    }

    /// <summary>Null also when the request's span is one that the sampler leaves out.</summary>
    public static Activity? StartRouting(RequestRecord record) => StartBelow(record.Activity, "route");

    /// <summary>Begins the span of forwarding, which ends with the request's.</summary>
    /// <returns>The span to pass the request on with: the request's when that is left out, and null when there is none.</returns>
    public static Activity? StartForwarding(RequestRecord record)
    {
        record.Forwarding = StartBelow(record.Activity, "forward", ActivityKind.Client);
        return record.Forwarding ?? record.Activity;
    }

    /// <summary>Null when the request is left out.</summary>
    public static Activity? StartPicking(RequestRecord record) => StartBelow(record.Forwarding, "pick");

    /// <param name="span">That of <see cref="StartPicking"/>.</param>
    /// <param name="record">Of the request, with the attempts that were made before.</param>
    /// <param name="endpoint">Null when none is left.</param>
    public static void Picked(Activity span, RequestRecord record, Backends.Endpoint? endpoint)
    {
        Tag(span, "kedge.backend", record.Backend?.Name);
        Tag(span, "kedge.endpoint", endpoint?.ToString());
        Tag(span, "kedge.attempt", Boxed.Of(record.Attempts + 1));
    }

    /// <summary>Puts the span's context in the place of the caller's.</summary>
    public static void Inject(Activity span, HttpRequestHeaders headers)
    {
        headers.Remove(TraceParent);
        headers.TryAddWithoutValidation(TraceParent, span.Id ?? NotSampled(span.TraceId));
        // Also when the span has none: it belongs to a trace that the caller's header failed to name.
        headers.Remove(TraceState);
        if (span.TraceStateString is { Length: > 0 } state)
        {
            headers.TryAddWithoutValidation(TraceState, state);
        }
    }

    /// <summary>The request is over, and so are its spans.</summary>
    public static void End(RequestRecord record)
    {
        if (IsRecording(record.Forwarding))
        {
            DescribeForwarding(record.Forwarding, record);
            record.Forwarding.Dispose();
        }
        if (IsRecording(record.Activity))
        {
            DescribeRequest(record.Activity, record);
            record.Activity.Dispose();
        }
        // The record is remembered for longer than the spans are needed.
        record.Activity = record.Forwarding = null;
    }

    private static bool IsRecording([NotNullWhen(true)] Activity? span) => span is { IsAllDataRequested: true };

    private static Activity? StartBelow(Activity? parent, string name, ActivityKind kind = ActivityKind.Internal) =>
        IsRecording(parent) ? Source.StartActivity(name, kind) : null;

    /// <summary>A traceparent that says so (W3C Trace Context, 3.2), of a new trace when there is none yet.</summary>
    private static string NotSampled(ActivityTraceId trace)
    {
        if (trace == default)
        {
            trace = ActivityTraceId.CreateRandom();
        }
        return $"00-{trace.ToHexString()}-{ActivitySpanId.CreateRandom().ToHexString()}-00";
    }

    private static void DescribeRequest(Activity span, RequestRecord record)
    {
        Tag(span, "http.request.method", record.Method);
        Tag(span, "server.address", record.Authority);
        Tag(span, "url.path", record.Path);
        Tag(span, "kedge.request_id", record.RequestId);
        Tag(span, "kedge.rule", record.Rule?.Info.Rule);
        Tag(span, "kedge.backend", record.Backend?.Name);
        Tag(span, "kedge.endpoint", record.Endpoint?.ToString());
        Tag(span, record.IsGrpc ? GrpcStatus : HttpStatus, Boxed.Of(record.Status));
        DescribeFailure(span, record.Failure);
    }

    private static void DescribeForwarding(Activity span, RequestRecord record)
    {
        Tag(span, "kedge.backend", record.Backend?.Name);
        Tag(span, "kedge.endpoint", record.Endpoint?.ToString());
        Tag(span, "kedge.attempts", Boxed.Of(record.Attempts));
        if (record.IsGrpc)
        {
            Tag(span, GrpcStatus, Boxed.Of(record.Status));
        }
        else
        {
            Tag(span, "http.request.method", record.Method);
            if (record.FirstByte != 0)
            {
                Tag(span, HttpStatus, Boxed.Of(record.Status));
            }
        }
        DescribeFailure(span, record.Failure);
    }

    private static void DescribeFailure(Activity span, LocalReply? failure)
    {
        if (failure is not null)
        {
            Tag(span, "error.type", failure.Type);
            span.SetStatus(ActivityStatusCode.Error, failure.Reason);
        }
    }

    /// <summary>For a tag that the span does not have: nobody looks for it.</summary>
    private static void Tag(Activity span, string name, object? value)
    {
        if (value is not null)
        {
            span.AddTag(name, value);
        }
    }

    /// <summary>Small numbers as objects, made once: statuses and attempts.</summary>
    private static class Boxed
    {
        private static readonly object[] Numbers = [.. Enumerable.Range(0, 600)];

        public static object Of(int number) => (uint)number < (uint)Numbers.Length ? Numbers[number] : number;
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
