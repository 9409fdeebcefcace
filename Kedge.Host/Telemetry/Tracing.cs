using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using Kedge.Host.Http;
using Kedge.Wire.Upstream;
using OpenTelemetry;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using Protocol = Kedge.Domain.Protocol;

namespace Kedge.Host.Telemetry;

/// <summary>
/// OpenTelemetry spans: one for each request, with one for routing and one for forwarding as its children, and under
/// forwarding one for each choice of an endpoint. When tracing is off, no span is created and trace headers are
/// forwarded unchanged.
/// </summary>
public static class Tracing
{
    public const string TraceParent = "traceparent";
    public const string TraceState = "tracestate";

    private const string HttpStatus = "http.response.status_code";
    private const string GrpcStatus = "rpc.grpc.status_code";

    private static readonly ActivitySource Source = new("kedge");

    /// <summary>
    /// Exports spans over OTLP to OTEL_EXPORTER_OTLP_ENDPOINT; null when that is not set. The caller decides whether
    /// its traces are sampled, unless OTEL_TRACES_SAMPLER is set.
    /// </summary>
    /// <param name="perSecond">How many traces may start here per second, unless OTEL_TRACES_SAMPLER is set.</param>
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
        // The SDK reads the variable only when no sampler is set.
        if (string.IsNullOrWhiteSpace(Environment.GetEnvironmentVariable("OTEL_TRACES_SAMPLER")))
        {
            builder.SetSampler(new ParentBasedSampler(new RateLimitedSampler(perSecond, TimeProvider.System)));
        }
        return builder.Build();
    }

    /// <summary>
    /// Null when tracing is off. The span of an unsampled request is not started; only <see cref="Inject"/> uses it.
    /// </summary>
    public static Activity? StartRequest(HttpRequest request)
    {
        if (!Source.HasListeners())
        {
            return null;
        }
        ActivityContext.TryParse(
            request.Headers[TraceParent], request.Headers[TraceState], isRemote: true, out var parent);
        var span = Source.CreateActivity("request", ActivityKind.Server, parent);
        // A started span becomes part of the execution context, which adds a cost to each await; unsampled
        // requests avoid that.
        return IsRecording(span) ? span.Start() : span;
    }

    /// <summary>Null when tracing is off or the request is not sampled.</summary>
    public static Activity? StartRouting(RequestRecord record) => StartBelow(record.Activity, "route");

    /// <summary>Starts the span of forwarding, which ends with that of the request.</summary>
    public static void StartForwarding(RequestRecord record) =>
        record.Forwarding = StartBelow(record.Activity, "forward", ActivityKind.Client);

    /// <summary>Null when tracing is off or the request is not sampled.</summary>
    public static Activity? StartPicking(RequestRecord record) => StartBelow(record.Forwarding, "pick");

    /// <param name="span">From <see cref="StartPicking"/>.</param>
    /// <param name="record">The request, with the number of attempts so far.</param>
    /// <param name="endpoint">Null when the request has tried all.</param>
    public static void Picked(Activity span, RequestRecord record, string? endpoint)
    {
        Tag(span, "kedge.backend", record.Backend?.Name);
        Tag(span, "kedge.endpoint", endpoint);
        Tag(span, "kedge.attempt", Boxed.Of(record.Attempts + 1));
    }

    /// <summary>The parent of the spans of the request's copies; the default when it is not sampled.</summary>
    public static ActivityContext ContextOf(RequestRecord record) =>
        IsRecording(record.Forwarding) ? record.Forwarding.Context : default;

    /// <summary>
    /// Starts the span of a copy of a request, and puts its context in the fields of the copy. Returns null, and
    /// leaves the fields unchanged, when tracing is off or the request is not sampled.
    /// </summary>
    /// <param name="parent">From <see cref="ContextOf"/>.</param>
    public static Activity? StartMirror(ActivityContext parent, string backend, FieldList fields)
    {
        if (parent == default || Source.StartActivity("mirror", ActivityKind.Client, parent) is not { } span)
        {
            return null;
        }
        Tag(span, "kedge.backend", backend);
        Replace(span, fields);
        return span;
    }

    /// <param name="span">From <see cref="StartMirror"/>.</param>
    /// <param name="status">The HTTP status, or the gRPC status.</param>
    public static void MirrorAnswered(Activity? span, Protocol protocol, int status)
    {
        if (span is not null)
        {
            Tag(span, protocol.IsGrpc ? GrpcStatus : HttpStatus, Boxed.Of(status));
        }
    }

    /// <summary>
    /// Replaces the caller's trace headers with the context of the span of forwarding or, when the request is not
    /// sampled, of the request. Does nothing when tracing is off.
    /// </summary>
    public static void Inject(RequestRecord record, FieldList fields)
    {
        if ((record.Forwarding ?? record.Activity) is { } span)
        {
            Replace(span, fields);
        }
    }

    private static void Replace(Activity span, FieldList fields)
    {
        fields.Remove(TraceParent);
        fields.Add(TraceParent, span.Id ?? NotSampled(span.TraceId));
        // Even when the span has no state: the caller's state belongs to the trace that its traceparent failed to name.
        fields.Remove(TraceState);
        if (span.TraceStateString is { Length: > 0 } state)
        {
            fields.Add(TraceState, state);
        }
    }

    /// <summary>Ends the spans of a request.</summary>
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
        // The record lives longer than the spans are needed.
        record.Activity = record.Forwarding = null;
    }

    private static bool IsRecording([NotNullWhen(true)] Activity? span) => span is { IsAllDataRequested: true };

    private static Activity? StartBelow(Activity? parent, string name, ActivityKind kind = ActivityKind.Internal) =>
        IsRecording(parent) ? Source.StartActivity(name, kind) : null;

    /// <summary>
    /// A traceparent with the sampled flag cleared (W3C Trace Context, 3.2); of a new trace when there is none.
    /// </summary>
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
        Tag(span, "kedge.rule", record.Rule?.Label);
        Tag(span, "kedge.shadow_limit", record.ShadowLimit);
        Tag(span, "kedge.backend", record.Backend?.Name);
        Tag(span, "kedge.endpoint", record.Endpoint);
        Tag(span, record.Protocol.IsGrpc ? GrpcStatus : HttpStatus, Boxed.Of(record.Status));
        DescribeFailure(span, record.Failure);
    }

    private static void DescribeForwarding(Activity span, RequestRecord record)
    {
        Tag(span, "kedge.backend", record.Backend?.Name);
        Tag(span, "kedge.endpoint", record.Endpoint);
        Tag(span, "kedge.attempts", Boxed.Of(record.Attempts));
        if (record.Protocol.IsGrpc)
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

    /// <summary>Adds a tag that the span does not have yet, which saves the search for it.</summary>
    private static void Tag(Activity span, string name, object? value)
    {
        if (value is not null)
        {
            span.AddTag(name, value);
        }
    }

    /// <summary>Boxes small numbers once: statuses and attempts.</summary>
    private static class Boxed
    {
        private static readonly object[] Numbers = [.. Enumerable.Range(0, 600)];

        public static object Of(int number) => (uint)number < (uint)Numbers.Length ? Numbers[number] : number;
    }
}

/// <summary>The OTLP export of telemetry.</summary>
internal static class Otlp
{
    public static bool IsConfigured =>
        !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("OTEL_EXPORTER_OTLP_ENDPOINT"));

    public static void Describe(ResourceBuilder resource) => resource
        .AddService("kedge", serviceVersion: BuildInfo.Version)
        .AddEnvironmentVariableDetector();
}
