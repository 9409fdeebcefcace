/// Trace context that passes through, and the spans that reach a collector.
module Kedge.Tests.EndToEnd.TraceTests

open System
open System.Diagnostics
open System.Runtime.InteropServices
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.EndToEnd.TelemetryStage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private traceId = "0af7651916cd43dd8448eb211c80319c"
let private spanId = "b7ad6b7169203331"
let private sampled = $"00-{traceId}-{spanId}-01"
let private unsampled = $"00-{traceId}-{spanId}-00"

/// A kedge that is traced with these flags and variables.
let private traced (collector: SpanCollector) flags variables = start flags (collector.Environment @ variables)

/// All spans: kedge is ended, and sends what it still has.
let private allSpans (collector: SpanCollector) (kedge: Kedge) : Task<CollectedSpan list> =
    task {
        kedge.Program.Signal PosixSignal.SIGTERM
        let! code = kedge.Program.Exit()
        Expect.equal code 0 "exit code"
        return collector.Spans
    }

let private named (name: string) (spans: CollectedSpan list) = spans |> List.filter (fun span -> span.Name = name)
let private one (name: string) (spans: CollectedSpan list) = spans |> named name |> List.exactlyOne

/// Trace id, span id and flags of a traceparent that is valid.
let private parts (traceparent: string) =
    Expect.isMatch traceparent "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$" "a traceparent"
    let fields = traceparent.Split '-'
    Expect.notEqual fields[1] (String('0', 32)) "a trace id"
    Expect.notEqual fields[2] (String('0', 16)) "a span id"
    fields[1], fields[2], fields[3]

/// The span is below the other one, in the tree and in time.
let private isBelow (parent: CollectedSpan) (span: CollectedSpan) =
    Expect.equal (span.Trace, span.Parent) (parent.Trace, parent.Id) $"{span.Name} is below {parent.Name}"
    Expect.isGreaterThanOrEqual span.Start parent.Start $"{span.Name} begins in {parent.Name}"
    Expect.isGreaterThanOrEqual span.End span.Start $"{span.Name} ends after its begin"
    Expect.isLessThanOrEqual span.End parent.End $"{span.Name} ends in {parent.Name}"

/// Each of them is an attribute; an empty value is one that must not be there.
let private says (span: CollectedSpan) (attributes: (string * string) list) =
    for name, value in attributes do
        Expect.equal (span.Attribute name) value $"{name} of {span.Name}"

/// A copy of a request for a mirror, whose span may end later than its request's.
let private mirror =
    case "a copy for a mirror has a span of its own below that of forwarding" (fun () ->
        task {
            use collector = new SpanCollector()
            let! http, grpc, kedge = traced collector [] []
            use http = http
            use grpc = grpc
            use kedge = kedge
            use client = Clients.http2 kedge.HttpsPort None
            let! _ = get client "https://mirrored.example/mirrored" [ "traceparent", sampled ]

            do!
                soon
                    patience
                    "the copy"
                    (fun () ->
                        DebugPort.metric
                            kedge
                            "kedge_mirrored_requests_total"
                            [ "backend_name", "busy"; "result", "sent" ])
                    (fun count -> count = 1.0)

            let original, copies =
                http.ReceivedOn "/mirrored"
                |> Array.partition (fun request -> request.Header "X-Kedge-Mirror" = "")

            let! spans = allSpans collector kedge
            let forward, span = one "forward" spans, one "mirror" spans
            Expect.equal (span.Trace, span.Parent) (forward.Trace, forward.Id) "below forwarding"
            says span [ "kedge.backend", "busy"; "http.response.status_code", "200" ]

            for request, parent in [ original[0], forward; copies[0], span ] do
                let _, id, _ = parts (request.Header "traceparent")
                Expect.equal id parent.Id "the context of its own span"
        })

[<Tests>]
let context =
    testList
        "trace context"
        [
            mirror

            case "without a collector the caller's passes as it is" (fun () ->
                task {
                    let! http, grpc, kedge = start [] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use client = Clients.http2 kedge.HttpsPort None

                    let! _ =
                        get client "https://well.example/traced" [ "traceparent", sampled; "tracestate", "a=b" ]

                    let received = http.One "/traced"

                    Expect.equal
                        (received.Header "traceparent", received.Header "tracestate")
                        (sampled, "a=b")
                        "context"
                })

            case "with one, what is passed on is valid and as sampled as it came" (fun () ->
                task {
                    use collector = new SpanCollector()
                    let! http, grpc, kedge = traced collector [ "--traces_per_second=0" ] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use client = Clients.http2 kedge.HttpsPort None

                    let passed (path: string) headers =
                        task {
                            let! _ = get client $"https://well.example{path}" headers
                            let received = http.One path
                            return parts (received.Header "traceparent"), received.Values "tracestate"
                        }

                    let! (trace, span, flags), state =
                        passed "/sampled" [ "traceparent", sampled; "tracestate", "a=b" ]

                    Expect.equal (trace, flags, state) (traceId, "01", [ "a=b" ]) "a sampled one"
                    Expect.notEqual span spanId "a span of its own"

                    let! (trace, span, flags), state =
                        passed "/unsampled" [ "traceparent", unsampled; "tracestate", "a=b" ]

                    Expect.equal (trace, flags, state) (traceId, "00", [ "a=b" ]) "one that is not"
                    Expect.notEqual span spanId "a span of its own"

                    let! (first, _, flags), state = passed "/none" []
                    Expect.equal (flags, state) ("00", []) "none"
                    let! (second, _, _), _ = passed "/none-again" []
                    Expect.notEqual second first "a trace of its own for each"

                    for number, broken in
                        List.indexed
                            [
                                "00-0af7-b7ad-01"
                                $"ff-{traceId}-{spanId}-01"
                                $"00-{String('0', 32)}-{spanId}-01"
                                $"00-{traceId}-{String('0', 16)}-01"
                                $"00-{traceId.ToUpperInvariant()}-{spanId}-01"
                                $"{sampled}, {sampled}"
                            ] do
                        let! (trace, _, flags), state =
                            passed $"/broken-{number}" [ "traceparent", broken; "tracestate", "a=b" ]

                        Expect.notEqual trace traceId $"a trace of its own: {broken}"
                        Expect.equal (flags, state) ("00", []) $"nothing of what is broken: {broken}"

                    let! spans = allSpans collector kedge
                    let requests = named "request" spans
                    Expect.equal (requests |> List.map (_.Attribute("url.path"))) [ "/sampled" ] "traced"
                })
        ]

[<Tests>]
let spans =
    testList
        "spans"
        [
            case "request, route, forward and pick of a caller's trace" (fun () ->
                task {
                    use collector = new SpanCollector()
                    let! http, grpc, kedge = traced collector [] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use client = Clients.http2 kedge.HttpsPort None

                    let! _ =
                        get client "https://well.example/traced?secret=query" [ "traceparent", sampled ]

                    do! eventually "spans, while it runs" (fun () -> collector.Spans.Length = 4)
                    do! eventually "metrics" (fun () -> collector.Metrics.Length > 0)
                    let! spans = allSpans collector kedge

                    Expect.equal
                        (spans |> List.map _.Name |> List.sort)
                        [ "forward"; "pick"; "request"; "route" ]
                        "spans"

                    let request, route, forward, pick =
                        one "request" spans, one "route" spans, one "forward" spans, one "pick" spans

                    Expect.equal (request.Trace, request.Parent) (traceId, spanId) "request is below the caller's"
                    isBelow request route
                    isBelow request forward
                    isBelow forward pick
                    Expect.isLessThanOrEqual route.End forward.Start "first the route"

                    Expect.equal
                        (parts ((http.One "/traced").Header "traceparent"))
                        (traceId, forward.Id, "01")
                        "the backend's is below forward"

                    let endpoint = $"127.0.0.1:{http.Port}"

                    says
                        request
                        [
                            "http.request.method", "GET"
                            "http.response.status_code", "200"
                            "server.address", "well.example"
                            "url.path", "/traced"
                            "kedge.rule", "good (director.json:1): host=well.example"
                            "kedge.backend", "well"
                            "kedge.endpoint", endpoint
                            "error.type", ""
                        ]

                    says
                        forward
                        [
                            "http.request.method", "GET"
                            "http.response.status_code", "200"
                            "kedge.backend", "well"
                            "kedge.endpoint", endpoint
                            "kedge.attempts", "1"
                            "error.type", ""
                        ]

                    says pick [ "kedge.backend", "well"; "kedge.endpoint", endpoint; "kedge.attempt", "1" ]
                    Expect.equal (spans |> List.choose _.Error) [] "no errors"
                })

            case "of a gRPC call, with its status" (fun () ->
                task {
                    use collector = new SpanCollector()
                    let! http, grpc, kedge = traced collector [] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use channel = Clients.grpc kedge.GrpcPort None "calls.example:443"
                    let! _ = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"))
                    let! spans = allSpans collector kedge
                    let request, forward = one "request" spans, one "forward" spans
                    Expect.equal request.Parent "" "a trace of kedge's own"
                    isBelow request forward
                    isBelow forward (one "pick" spans)

                    for span in [ request; forward ] do
                        says
                            span
                            [
                                "rpc.grpc.status_code", "0"
                                "http.response.status_code", ""
                                "kedge.endpoint", $"127.0.0.1:{grpc.Port}"
                            ]
                })

            case "a pick for each attempt, and the failure where none is left" (fun () ->
                task {
                    use collector = new SpanCollector()
                    let! http, grpc, kedge = traced collector [] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use client = Clients.http2 kedge.HttpsPort None
                    let! answer = get client "https://dead.example/lost" []
                    Expect.equal answer.Status 502 "status"
                    let! spans = allSpans collector kedge
                    let request, forward = one "request" spans, one "forward" spans
                    let picks = spans |> named "pick" |> List.sortBy (_.Attribute("kedge.attempt"))
                    picks |> List.iter (isBelow forward)

                    Expect.equal
                        (picks
                         |> List.map (fun pick ->
                             pick.Attribute "kedge.attempt", pick.Attribute("kedge.endpoint").Split(':')[0]))
                        [ "1", "127.0.0.1"; "2", "" ]
                        "its only endpoint, then none"

                    says forward [ "kedge.attempts", "1"; "http.response.status_code", "" ]
                    says request [ "http.response.status_code", "502" ]

                    for span in [ request; forward ] do
                        says span [ "error.type", "no-connection-to-all-resolved-addresses" ]
                        Expect.isSome span.Error $"{span.Name} failed"
                })

            case "another endpoint, when the first refuses" (fun () ->
                task {
                    use collector = new SpanCollector()
                    let port = Ports.free ()
                    use alive = BackendStage.peerAt "127.0.0.3" port
                    use! dns = BackendStage.dnsOf 60 [ "127.0.0.2"; "127.0.0.3" ]

                    use! kedge =
                        Kedge.Start
                            { Kedge.Defaults with
                                Director = Json.director [ Json.httpRoute "many" "many.example" ] []
                                BackendPool = Json.pool [ BackendStage.manyBackend port "" ] []
                                Flags = [ $"--dns_nameservers=127.0.0.1:{dns.Port}" ]
                                Environment = collector.Environment
                            }

                    use client = Clients.http2 kedge.HttpsPort None
                    // One of two turns begins at the endpoint that refuses.
                    let! bodies = BackendStage.bodies client 2
                    Expect.equal bodies [ "127.0.0.3"; "127.0.0.3" ] "answers"
                    let! spans = allSpans collector kedge

                    let forward =
                        spans
                        |> named "forward"
                        |> List.filter (fun span -> span.Attribute "kedge.attempts" = "2")

                    Expect.equal forward.Length 1 "one took two attempts"

                    let picks =
                        spans |> named "pick" |> List.filter (fun pick -> pick.Parent = forward.Head.Id)

                    Expect.equal
                        (picks
                         |> List.map (fun pick -> pick.Attribute "kedge.attempt", pick.Attribute "kedge.endpoint")
                         |> List.sort)
                        [ "1", $"127.0.0.2:{port}"; "2", $"127.0.0.3:{port}" ]
                        "picks"

                    says forward.Head [ "kedge.endpoint", $"127.0.0.3:{port}"; "http.response.status_code", "200" ]
                    Expect.equal alive.Received.Length 2 "requests that arrived"
                })
        ]

/// As many requests as told, one after the other; yields the seconds that they took.
let private burst (kedge: Kedge) (count: int) headers : Task<float> =
    task {
        use client = Clients.http2 kedge.HttpsPort None
        let watch = Stopwatch.StartNew()

        for _ in 1..count do
            let! answer = get client "https://well.example/burst" headers
            Expect.equal answer.Status 200 "status"

        return watch.Elapsed.TotalSeconds
    }

/// The flags of the trace context that the backend got, each with how often.
let private flags (http: HttpPeer) =
    http.ReceivedOn "/burst"
    |> Array.countBy (fun received ->
        let _, _, flags = parts (received.Header "traceparent")
        flags)
    |> Map

[<Tests>]
let limit =
    testList
        "traces per second"
        [
            case "no more traces begin than the limit allows" (fun () ->
                task {
                    let limit = 5
                    use collector = new SpanCollector()
                    let! http, grpc, kedge = traced collector [ $"--traces_per_second={limit}" ] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    let! seconds = burst kedge 200 []
                    let! spans = allSpans collector kedge
                    let traces = (named "request" spans).Length
                    Expect.isGreaterThanOrEqual traces limit "one second's worth at least"
                    Expect.isLessThanOrEqual (float traces) (float limit * (seconds + 1.0)) "traces"
                    Expect.equal (flags http) (Map [ "00", 200 - traces; "01", traces ]) "what the backend hears"

                    for name in [ "route"; "forward"; "pick" ] do
                        Expect.equal (named name spans).Length traces name
                })

            case "does not hold for traces that callers sample" (fun () ->
                task {
                    use collector = new SpanCollector()
                    let! http, grpc, kedge = traced collector [ "--traces_per_second=1" ] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    let! _ = burst kedge 50 [ "traceparent", sampled ]
                    let! spans = allSpans collector kedge
                    Expect.equal (named "request" spans).Length 50 "followed"
                    Expect.equal (flags http) (Map [ "01", 50 ]) "what the backend hears"
                })

            case "gives way to OTEL_TRACES_SAMPLER=always_off" (fun () ->
                task {
                    use collector = new SpanCollector()
                    let! http, grpc, kedge = traced collector [] [ "OTEL_TRACES_SAMPLER", "always_off" ]
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    let! _ = burst kedge 20 []
                    let! _ = burst kedge 20 [ "traceparent", sampled ]
                    let! spans = allSpans collector kedge
                    Expect.equal spans [] "none"
                    Expect.equal (flags http) (Map [ "00", 40 ]) "what the backend hears"
                })

            case "gives way to OTEL_TRACES_SAMPLER=always_on" (fun () ->
                task {
                    use collector = new SpanCollector()

                    let! http, grpc, kedge =
                        traced collector [ "--traces_per_second=0" ] [ "OTEL_TRACES_SAMPLER", "always_on" ]

                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    let! _ = burst kedge 20 []
                    let! _ = burst kedge 20 [ "traceparent", unsampled ]
                    let! spans = allSpans collector kedge
                    Expect.equal (named "request" spans).Length 40 "all"
                    Expect.equal (flags http) (Map [ "01", 40 ]) "what the backend hears"
                })
        ]
