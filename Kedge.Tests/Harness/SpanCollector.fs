namespace Kedge.Tests.Harness

open System
open System.Collections.Concurrent
open System.IO
open Kedge.Tests.Peers.Otlp

/// A span as it was sent to a collector. Ids are in lower-case hexadecimal.
type CollectedSpan =
    {
        Trace: string
        Id: string
        /// Empty for the first span of a trace.
        Parent: string
        Name: string
        /// Nanoseconds since 1970.
        Start: uint64
        End: uint64
        /// Numbers in decimal.
        Attributes: Map<string, string>
        /// The reason, when the span says that it failed.
        Error: string option
    }

    /// The value of an attribute, or the empty text.
    member span.Attribute(name: string) = span.Attributes |> Map.tryFind name |> Option.defaultValue ""

/// A collector that takes OTLP over HTTP.
type SpanCollector() =
    let peer = new HttpPeer "collector"
    let spans = ConcurrentQueue<CollectedSpan>()
    let hex (bytes: Google.Protobuf.ByteString) = Convert.ToHexStringLower bytes.Span

    let attribute (pair: KeyValue) =
        let value = nonNull pair.Value

        pair.Key,
        match value.ValueCase with
        | AnyValue.ValueOneofCase.StringValue -> value.StringValue
        | AnyValue.ValueOneofCase.IntValue -> string value.IntValue
        | other -> failwith $"an attribute of the type {other} is not known here: {pair.Key}"

    let take (span: Span) =
        let attributes = span.Attributes |> Seq.map attribute |> List.ofSeq

        if List.length attributes <> Map.count (Map attributes) then
            failwith $"attributes twice: %A{attributes}"

        spans.Enqueue
            {
                Trace = hex span.TraceId
                Id = hex span.SpanId
                Parent = hex span.ParentSpanId
                Name = span.Name
                Start = span.StartTimeUnixNano
                End = span.EndTimeUnixNano
                Attributes = Map attributes
                Error =
                    match span.Status with
                    | null -> None
                    | status when status.Code = 2 -> Some status.Message
                    | _ -> None
            }

    do
        peer.On(
            "/v1/traces",
            fun context ->
                task {
                    use body = new MemoryStream()
                    do! context.Request.Body.CopyToAsync body
                    let sent = ExportTraceServiceRequest.Parser.ParseFrom(body.ToArray())

                    for resource in sent.ResourceSpans do
                        for scope in resource.ScopeSpans do
                            Seq.iter take scope.Spans
                }
        )

    /// What makes a program send its telemetry here.
    member _.Environment =
        [
            "OTEL_EXPORTER_OTLP_ENDPOINT", $"http://127.0.0.1:{peer.Port}"
            "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
            "OTEL_BSP_SCHEDULE_DELAY", "200"
            "OTEL_METRIC_EXPORT_INTERVAL", "500"
        ]

    /// In the order of their arrival.
    member _.Spans = List.ofSeq spans

    /// Exports of metrics so far.
    member _.Metrics = peer.ReceivedOn "/v1/metrics"

    interface IDisposable with
        member _.Dispose() = (peer :> IDisposable).Dispose()
