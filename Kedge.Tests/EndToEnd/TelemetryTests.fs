module Kedge.Tests.EndToEnd.TelemetryTests

open System
open System.Net
open System.Net.Http
open System.Text.Json
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.EndToEnd.TelemetryStage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// The log's lines about requests, as JSON.
let private requestLines (kedge: Kedge) =
    [
        for line in kedge.Program.Stderr do
            if line.StartsWith '{' then
                let entry = JsonDocument.Parse(line).RootElement

                if entry.GetProperty("logger").GetString() = "kedge.requests" then
                    entry
    ]

let private field (name: string) (entry: JsonElement) = string (entry.GetProperty("fields").GetProperty(name))

[<Tests>]
let metrics =
    testList
        "metrics"
        [
            case "the original's names and labels, in text that a strict parser takes" (fun () ->
                task {
                    let! http, grpc, kedge = start [] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    do! exercise kedge
                    let! text = DebugPort.text kedge "/metrics"

                    let types, samples =
                        match Prometheus.parse text with
                        | Ok parsed -> parsed
                        | Error error -> failtest error

                    let has name labels value =
                        let found =
                            samples
                            |> List.filter (fun s -> s.Name = name && s.Labels = Map labels)
                            |> List.map _.Value

                        Expect.equal found [ value ] $"{name} {labels}"

                    let method =
                        [
                            "grpc_type", "bidi_stream"
                            "grpc_service", "kedge.test.Echo"
                            "grpc_method", "Unary"
                        ]

                    for side in [ "grpc_server"; "grpc_client" ] do
                        has $"{side}_started_total" method 1.0
                        has $"{side}_handled_total" (("grpc_code", "OK") :: method) 1.0
                        has $"{side}_msg_received_total" method 1.0
                        has $"{side}_msg_sent_total" method 1.0

                    let withMethod labels = Map(("method", "GET") :: labels)

                    let sum name labels =
                        samples
                        |> List.filter (fun s ->
                            s.Name = name
                            && withMethod labels |> Map.forall (fun k v -> s.Labels.TryFind k = Some v))
                        |> List.sumBy _.Value

                    // Two good requests, one to a dead backend, one that no route takes.
                    Expect.equal (sum "http_handler_started_requests_total" []) 4.0 "started by callers"
                    Expect.equal (sum "http_handler_completed_requests_total" [ "status", "200" ]) 2.0 "good"
                    Expect.equal (sum "http_handler_completed_requests_total" [ "status", "502" ]) 2.0 "failed"
                    Expect.equal (sum "http_tripper_started_requests_total" []) 3.0 "sent to backends"
                    Expect.equal (sum "http_tripper_completed_requests_total" [ "status", "200" ]) 2.0 "good"
                    Expect.equal (sum "http_tripper_completed_requests_total" [ "status", "599" ]) 1.0 "no response"

                    for name in
                        [
                            "process_cpu_seconds_total"
                            "process_resident_memory_bytes"
                            "process_virtual_memory_bytes"
                            "process_start_time_seconds"
                            "process_open_fds"
                            "process_max_fds"
                        ] do
                        let! value = DebugPort.metric kedge name []
                        Expect.isGreaterThan value 0.0 name

                    has "kedge_proxy_errors_total" [ "backend_name", "unknown"; "type", "no-route" ] 2.0

                    has
                        "kedge_proxy_errors_total"
                        [ "backend_name", "dead"; "type", "no-connection-to-all-resolved-addresses" ]
                        1.0

                    has "kedge_requests_total" [ "protocol", "http"; "backend_name", "well"; "code", "200" ] 2.0
                    has "kedge_request_duration_seconds_count" [ "protocol", "http"; "backend_name", "well" ] 2.0

                    has
                        "kedge_http_backend_configuration_changes_total"
                        [ "action", "create"; "backend_name", "well" ]
                        1.0

                    has
                        "kedge_grpc_backend_configuration_changes_total"
                        [ "action", "create"; "backend_name", "calls" ]
                        1.0

                    has
                        "kedge_backend_endpoint_ready"
                        [
                            "protocol", "http"
                            "backend_name", "well"
                            "endpoint", $"127.0.0.1:{http.Port}"
                        ]
                        1.0

                    has "kedge_requests_in_flight" [ "protocol", "http"; "backend_name", "well" ] 0.0

                    let! dials =
                        DebugPort.metric kedge "kedge_http_lbtransport_failed_dials" [ "target", "dead" ]

                    Expect.equal dials 1.0 "failed dials"
                    Expect.equal types["kedge_http_lbtransport_failed_dials"] "counter" "a counter, under its old name"

                    let! accepted =
                        DebugPort.metric
                            kedge
                            "net_conntrack_listener_conn_accepted_total"
                            [ "listener_name", "http_tls" ]

                    Expect.isGreaterThan accepted 0.0 "connections"
                    Expect.isFalse (text.Contains "hidden") "nothing of a request's path or query"
                    Expect.isFalse (text.Contains "nobody.example") "no host of a caller"
                    use client = Clients.http1 kedge.HttpsPort None
                    let! answer = get client "https://well.example/metrics" []
                    Expect.equal answer.Body "well" "the proxy ports have no such page"
                })

            case "an empty path: no page, and requests are served and remembered all the same" (fun () ->
                task {
                    let! http, grpc, kedge = start [ "--server_metrics_path=" ] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    do! exercise kedge
                    use! page = DebugPort.send kedge HttpMethod.Get "/metrics" ""
                    Expect.equal page.StatusCode HttpStatusCode.NotFound "no such page"
                    let! index = DebugPort.text kedge "/"
                    Expect.isFalse (index.Contains "metrics") "nor is it listed"
                    let! status = DebugPort.json kedge "/debug/status"
                    Expect.stringContains (status.GetRawText()) "no-route" "the failures are there"
                })

            case "messages of gRPC streams are counted in both directions, whatever chunks they come in" (fun () ->
                task {
                    let! http, grpc, kedge = start [] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use channel = Clients.grpc kedge.GrpcPort None "calls.example:443"
                    use call = Echo.EchoClient(channel).Bidi()

                    // Empty ones, small ones, and one of many chunks.
                    for size in [ 0; 1; 300_000; 2; 0 ] do
                        do! call.RequestStream.WriteAsync(EchoRequest(Text = String('x', size)))

                        let! _ =
                            within "an answer" (call.ResponseStream.MoveNext Threading.CancellationToken.None)

                        ()

                    do! call.RequestStream.CompleteAsync()
                    let! more = call.ResponseStream.MoveNext Threading.CancellationToken.None
                    Expect.isFalse more "the end"

                    for name in
                        [
                            "grpc_server_msg_received_total"
                            "grpc_server_msg_sent_total"
                            "grpc_client_msg_received_total"
                            "grpc_client_msg_sent_total"
                        ] do
                        let! count = DebugPort.metric kedge name [ "grpc_service", "kedge.test.Echo" ]
                        Expect.equal count 5.0 name
                })

            case "methods that callers make up are counted together" (fun () ->
                task {
                    let! http, grpc, kedge = start [] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use client = Clients.http1 kedge.HttpsPort None

                    for method in [ "BREW"; "WHEN"; "QUERY" ] do
                        use request = new HttpRequestMessage(HttpMethod method, "https://well.example/")
                        use! _ = client.SendAsync request
                        ()

                    let! count =
                        DebugPort.metric kedge "http_handler_started_requests_total" [ "method", "other" ]

                    Expect.equal count 3.0 "together"
                    let! text = DebugPort.text kedge "/metrics"
                    Expect.isFalse (text.Contains "BREW") "not by name"
                })

            case "names of methods are bounded: beyond the bound calls are counted together" (fun () ->
                task {
                    let! http, grpc, kedge = start [] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use client = Clients.http2 kedge.HttpsPort None

                    let call (number: int) =
                        task {
                            let request = Clients.emptyCall $"https://calls.example/made.Up/M{number}"
                            use! _ = client.SendAsync request
                            ()
                        }

                    for batch in Seq.chunkBySize 100 (seq { 1..2100 }) do
                        let! _ = System.Threading.Tasks.Task.WhenAll(batch |> Array.map call)
                        ()

                    let! samples = DebugPort.samples kedge
                    let started = samples |> List.filter (fun s -> s.Name = "grpc_server_started_total")
                    Expect.equal started.Length 2001 "series"

                    let! others =
                        DebugPort.metric kedge "grpc_server_started_total" [ "grpc_method", "other" ]

                    Expect.equal others 100.0 "the rest"
                })
        ]

[<Tests>]
let logs =
    testList
        "logs"
        [
            case "one line for a failed request, none for a good one unless asked for" (fun () ->
                task {
                    let! http, grpc, kedge = start [] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use client = Clients.http1 kedge.HttpsPort None
                    let! _ = get client "https://well.example/quiet?token=hidden" []

                    let! _ =
                        get client "https://well.example/watched" [ "X-Kedge-Info-Logs", "winch-ann" ]

                    let! _ =
                        get client "https://dead.example/lost?token=hidden" [ "X-Kedge-Request-ID", "lost-1" ]

                    do! eventually "the lines" (fun () -> (requestLines kedge).Length >= 2)
                    let lines = requestLines kedge
                    Expect.equal (lines |> List.map (field "Path")) [ "/watched"; "/lost" ] "which requests"
                    Expect.equal (field "InfoLogs" lines[0]) "winch-ann" "who asked"
                    let line = lines[1]
                    Expect.isFalse (line.GetProperty("fields").TryGetProperty "InfoLogs" |> fst) "nobody asked"
                    Expect.equal (string (line.GetProperty "level")) "info" "level"

                    for name, value in
                        [
                            "Method", "GET"
                            "Host", "dead.example"
                            "Rule", "host=dead.example"
                            "Backend", "dead"
                            "ErrorType", "no-connection-to-all-resolved-addresses"
                            "RequestId", "lost-1"
                            "Status", "502"
                        ] do
                        Expect.equal (field name line) value name

                    Expect.stringStarts (field "Endpoint" line) "127.0.0.1:" "endpoint"

                    let message (line: System.Text.Json.JsonElement) = string (line.GetProperty "message")

                    Expect.isMatch
                        (message line)
                        ("^request failed: GET dead.example/lost: no-connection-to-all-resolved-addresses: [^;]+; "
                         + @"rule host=dead\.example, backend dead, endpoint 127\.0\.0\.1:\d+, status 502, "
                         + @"\d+ attempts?, [\d.]+ ms, request lost-1$")
                        "a line for people"

                    let! _ = get client "https://nobody.example/x" [ "X-Kedge-Request-ID", "lost-2" ]

                    do! eventually "the line" (fun () -> (requestLines kedge).Length = 3)
                    let line = (requestLines kedge)[2]

                    Expect.isMatch
                        (message line)
                        ("^request failed: GET nobody.example/x: no-route: no route matches this request; "
                         + @"status 502, 0 attempts, [\d.]+ ms, request lost-2$")
                        "nothing about what it did not have"

                    for name in [ "Route"; "Rule"; "Backend"; "Endpoint" ] do
                        Expect.equal (field name line) "" $"{name}: the fields are the same for all requests"

                    Expect.isFalse (kedge.Program.Output.Contains "hidden") "no query"
                })

            case "--access_log: a line for every request" (fun () ->
                task {
                    let! http, grpc, kedge = start [ "--access_log" ] []
                    use http = http
                    use grpc = grpc
                    use kedge = kedge
                    use client = Clients.http2 kedge.HttpsPort None

                    for number in 1..3 do
                        let! _ = get client $"https://well.example/{number}" []
                        ()

                    do! eventually "the lines" (fun () -> (requestLines kedge).Length = 3)
                    Expect.equal (requestLines kedge |> List.map (field "Status")) [ "200"; "200"; "200" ] "status"
                })
        ]
