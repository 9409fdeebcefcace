/// Answers of endpoints that come early, in parts, or against the rules, as callers see them; and how they are counted.
module Kedge.Tests.Wire.BackendAnswerTests

open System
open System.IO
open System.Net.Http
open System.Net.WebSockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// A raw HTTP/1.1 endpoint that answers each request on a connection in turn, and keeps the connection open.
let private answeringEach (answers: string list) =
    new RawPeer(fun stream ->
        task {
            for answer in answers do
                let! _ = RawPeer.ReadHead stream
                do! RawPeer.Write(stream, answer)

            let! _ = RawPeer.ReadHead stream
            ()
        })

let private ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/// A kedge whose only backend `web` is a bare HTTP/2 endpoint for gRPC.
let private startGrpc (port: int) (more: string) =
    Kedge.Start(
        Json.director [] [ Json.grpcRoute "web" "web.example" ],
        Json.pool
            []
            [
                $$"""{ "name": "web", "host": { "dns_name": "127.0.0.1", "port": {{port}} }{{more}} }"""
            ],
        []
    )

let private grpcRequest (content: HttpContent) =
    content.Headers.Add("Content-Type", "application/grpc")
    new HttpRequestMessage(HttpMethod.Post, "https://web.example/s/M", Content = content)

let private failuresOf (kedge: Kedge) (backend: string) =
    task {
        let! samples = DebugPort.samples kedge

        return
            samples
            |> List.filter (fun sample ->
                sample.Name = "kedge_proxy_errors_total"
                && sample.Labels.TryFind "backend_name" = Some backend)
            |> List.sumBy _.Value
    }

let private cut =
    [
        "a length that is not reached", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
        "a chunk that is cut", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc"
        "a last chunk that is missing", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    ]

let private cutPeers =
    [ for _, answer in cut -> Shared.make (fun () -> RawPeer.Answering answer) ]

/// With a backend for each of these answers: `cut0.example`, `cut1.example`, …
let private cutting =
    Shared.make (fun () ->
        (servingAll [ for i, peer in List.indexed cutPeers -> $"cut{i}", peer.Value.Port ] []).GetAwaiter().GetResult())

[<Tests>]
let tests =
    testList
        "answers of backends"
        [
            case
                "responses that are cut while the upload goes on are the backend's fault, and nothing fails inside kedge"
                (fun () ->
                    task {
                        use peer =
                            new RawPeer(fun stream ->
                                task {
                                    let! _ = RawPeer.ReadHead stream
                                    do! RawPeer.Write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                                })

                        use! kedge = serving "cut" peer.Port []
                        use client = Clients.http2 kedge.HttpsPort None

                        // Whether the end of the upload's reader or its cancellation comes first is a race.
                        let upload () =
                            task {
                                try
                                    let content = new ByteArrayContent(Array.zeroCreate 300_000)
                                    use! response = client.PostAsync("https://cut.example/", content)
                                    return int response.StatusCode
                                with
                                | :? HttpRequestException
                                | :? IOException -> return 0
                            }

                        for _ in 1..30 do
                            let! statuses = within "uploads" (Task.WhenAll [ for _ in 1..10 -> upload () ])
                            Expect.isEmpty (statuses |> Array.filter (fun s -> s <> 0 && s <> 502)) "cut, or 502"

                        let! inside =
                            DebugPort.metric kedge "kedge_proxy_errors_total" [ "type", "internal-error" ]

                        Expect.equal inside 0.0 "failures inside kedge"
                        let! failures = failuresOf kedge "cut"
                        Expect.equal failures 300.0 "failures of the backend"
                    })

            for status in [ 204; 205 ] do
                case $"a {status} with a Content-Length passes without it, and the next request is right" (fun () ->
                    task {
                        use peer =
                            new RawPeer(fun stream ->
                                task {
                                    let! _ = RawPeer.ReadHead stream
                                    do! RawPeer.Write(stream, $"HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n")
                                    let! _ = RawPeer.ReadHead stream
                                    do! RawPeer.Write(stream, ok)
                                })

                        use! kedge = serving "empty" peer.Port []

                        for client in [ Clients.http1 kedge.HttpsPort None; Clients.http2 kedge.HttpsPort None ] do
                            use client = client

                            for method in [ HttpMethod.Get; HttpMethod.Head; HttpMethod.Delete ] do
                                let! answer = send client (new HttpRequestMessage(method, "https://empty.example/"))
                                Expect.equal (answer.Status, answer.Body) (status, "") $"{method}"

                                let length = answer.Message.Content.Headers.ContentLength
                                Expect.isTrue (not length.HasValue || length.Value = 0L) "no length"

                        Expect.isFalse kedge.Program.HasExited "the process lives"
                    })

            for index, (name, _) in List.indexed cut do
                case
                    $"a body that is cut together with its head is never a closed connection without a byte: {name}"
                    (fun () ->
                        task {
                            for _ in 1..20 do
                                use! caller = RawClient.Connect cutting.Value.HttpsPort
                                do! caller.Write $"GET / HTTP/1.1\r\nHost: cut{index}.example\r\n\r\n"
                                let! seen = caller.ReadToEnd()

                                Expect.isTrue
                                    (seen.StartsWith("HTTP/1.1 502 ", StringComparison.Ordinal)
                                     || seen.StartsWith("HTTP/1.1 200 ", StringComparison.Ordinal))
                                    $"an answer: {seen}"

                                Expect.isFalse
                                    (seen.StartsWith("HTTP/1.1 200 ", StringComparison.Ordinal)
                                     && seen.EndsWith("0\r\n\r\n", StringComparison.Ordinal))
                                    $"it does not look complete: {seen}"
                        })

            case "a 103 reaches an HTTP/2 caller before the response" (fun () ->
                task {
                    use peer =
                        answeringEach
                            [
                                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + ok
                                "HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n" + ok
                            ]

                    use! kedge = serving "hints" peer.Port []
                    use! client = Http2Frames.Connect kedge.HttpsPort

                    for stream in [ 1; 3 ] do
                        do!
                            client.Headers(
                                stream,
                                [
                                    ":method", "GET"
                                    ":scheme", "https"
                                    ":authority", "hints.example"
                                    ":path", "/"
                                ],
                                true
                            )

                        let! events = client.ReadUntil(fun event -> event = Ended stream || event = Closed)

                        Expect.equal
                            (events |> List.filter _.IsStatus)
                            [ Status(stream, 103); Status(stream, 200) ]
                            "both"

                    use client = Clients.http2 kedge.HttpsPort None
                    let! answer = get client "https://hints.example/" []
                    Expect.equal (answer.Status, answer.Body) (200, "ok") "a client that ignores it"
                })

            case "a complete early answer of an HTTP/2 endpoint ends the response while the caller uploads" (fun () ->
                task {
                    use peer =
                        new Http2Peer(
                            [||],
                            Some (Certificates.authority.Value.Server()).Certificate,
                            fun connection frame ->
                                task {
                                    if frame.IsHeaders then
                                        do! connection.Headers(frame.Stream, [ ":status", "403" ], false)
                                        do! connection.Data(frame.Stream, "no"B, true)
                                }
                        )

                    use! kedge =
                        Kedge.Start(
                            Json.director [ Json.httpRoute "web" "web.example" ] [],
                            Json.pool
                                [
                                    $$"""{ "name": "web", "security": { "insecure_skip_verify": true }, "host": { "dns_name": "127.0.0.1", "port": {{peer.Port}} } }"""
                                ]
                                [],
                            []
                        )

                    use! client = Http2Frames.Connect kedge.HttpsPort

                    do!
                        client.Headers(
                            1,
                            [
                                ":method", "POST"
                                ":scheme", "https"
                                ":authority", "web.example"
                                ":path", "/"
                            ],
                            false
                        )

                    let! events = client.ReadUntil(fun event -> event = Ended 1 || event = Closed)
                    Expect.contains events (Status(1, 403)) "the answer"
                    Expect.contains events (Ended 1) "its end"
                    let! failures = failuresOf kedge "web"
                    Expect.equal failures 0.0 "an early answer is an answer"
                })

            for how in [ "and resets the stream with NO_ERROR"; "and reads on" ] do
                case
                    $"a gRPC endpoint that answers before it has read the call is not counted as failed: {how}"
                    (fun () ->
                        task {
                            use peer =
                                new Http2Peer(
                                    [||],
                                    None,
                                    fun connection frame ->
                                        task {
                                            if frame.IsHeaders then
                                                do!
                                                    connection.Headers(
                                                        frame.Stream,
                                                        [
                                                            ":status", "200"
                                                            "content-type", "application/grpc"
                                                            "grpc-status", "7"
                                                        ],
                                                        true
                                                    )

                                                if how.Contains("NO_ERROR", StringComparison.Ordinal) then
                                                    do! connection.Reset(frame.Stream, 0uy)
                                        }
                                )

                            use! kedge =
                                startGrpc
                                    peer.Port
                                    """, "outlier_detection": { "consecutive_failures": 1, "ejection_time": "60s", "max_ejection_percent": 100 }"""

                            use client = Clients.http2 kedge.GrpcPort None

                            for _ in 1..3 do
                                let gate = TaskCompletionSource()

                                let body =
                                    new PushContent(fun stream ->
                                        task {
                                            do! stream.WriteAsync(Array.zeroCreate<byte>(5).AsMemory())
                                            do! stream.FlushAsync()
                                            do! gate.Task
                                        })

                                use request = grpcRequest body
                                let! answer = send client request
                                gate.SetResult()
                                Expect.equal (answer.Header "grpc-status") "7" "the status of the endpoint"

                            do!
                                soon
                                    patience
                                    "the calls are counted with their status"
                                    (fun () ->
                                        DebugPort.metric
                                            kedge
                                            "grpc_server_handled_total"
                                            [ "grpc_code", "PermissionDenied" ])
                                    ((=) 3.0)

                            let! failures = failuresOf kedge "web"
                            Expect.equal failures 0.0 "failures"

                            let! ready =
                                DebugPort.metric kedge "kedge_backend_endpoint_ready" [ "protocol", "grpc" ]

                            Expect.equal ready 1.0 "the endpoint is not ejected"
                        })

            for how in [ "says GOAWAY"; "breaks a rule" ] do
                case
                    $"an endpoint that {how} along with its SETTINGS fails calls at once, and is not asked again and again"
                    (fun () ->
                        task {
                            let settings = [| 0uy; 0uy; 0uy; 4uy; 0uy; 0uy; 0uy; 0uy; 0uy |]

                            let last =
                                if how.StartsWith("says", StringComparison.Ordinal) then
                                    [|
                                        0uy
                                        0uy
                                        8uy
                                        7uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                        0uy
                                    |]
                                else
                                    [| 0uy; 0uy; 3uy; 6uy; 0uy; 0uy; 0uy; 0uy; 0uy; 0uy; 0uy; 0uy |]

                            use bad =
                                new RawPeer(fun stream ->
                                    task {
                                        do! stream.WriteAsync((Array.append settings last).AsMemory())
                                        // It leaves the connection open.
                                        let! _ = RawPeer.ReadToEnd stream
                                        ()
                                    })

                            use! kedge = startGrpc bad.Port ""
                            use client = Clients.http2 kedge.GrpcPort None

                            for number in 1..3 do
                                let! answer =
                                    send client (grpcRequest (new ByteArrayContent(Array.zeroCreate<byte> 5)))

                                Expect.equal (answer.Header "grpc-status") "14" $"call {number}"

                            Expect.isLessThan bad.Accepted 20 "it does not open connections again and again"
                        })

            case "a gRPC response whose trailers exceed the limit ends in UNAVAILABLE" (fun () ->
                task {
                    use peer =
                        new Http2Peer(
                            [||],
                            None,
                            fun connection frame ->
                                task {
                                    if frame.EndsStream then
                                        do!
                                            connection.Headers(
                                                frame.Stream,
                                                [ ":status", "200"; "content-type", "application/grpc" ],
                                                false
                                            )

                                        do! connection.Data(frame.Stream, [| 0uy; 0uy; 0uy; 0uy; 0uy |], false)

                                        do!
                                            connection.Headers(
                                                frame.Stream,
                                                [ "grpc-status", "0"; "x", String('x', 3000) ],
                                                true
                                            )
                                }
                        )

                    use! kedge =
                        Kedge.Start(
                            Json.director [] [ Json.grpcRoute "web" "web.example" ],
                            Json.pool [] [ Json.backend "web" peer.Port ],
                            [ "--backend_max_header_bytes=2000" ]
                        )

                    use client = Clients.http2 kedge.GrpcPort None

                    let! answer =
                        send client (grpcRequest (new ByteArrayContent([| 0uy; 0uy; 0uy; 0uy; 0uy |])))

                    let status =
                        match answer.Message.TrailingHeaders.TryGetValues "grpc-status" with
                        | true, NonNull values -> Seq.head values
                        | _ -> answer.Header "grpc-status"

                    Expect.equal status "14" "UNAVAILABLE"
                })

            case "an HTTP/2 WebSocket whose endpoint answers 200 gets 502" (fun () ->
                task {
                    use peer =
                        RawPeer.Answering "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\nno WebSocket, just a page"

                    use! kedge = serving "page" peer.Port []

                    for _ in 1..5 do
                        use socket = new ClientWebSocket()
                        socket.Options.HttpVersion <- Net.HttpVersion.Version20
                        socket.Options.HttpVersionPolicy <- HttpVersionPolicy.RequestVersionExact
                        socket.Options.CollectHttpResponseDetails <- true
                        use invoker = Clients.http2 kedge.HttpsPort None

                        let! _ =
                            failure<WebSocketException> "the handshake" (fun () ->
                                socket.ConnectAsync(Uri "wss://page.example/", invoker, CancellationToken.None))

                        Expect.equal (int socket.HttpStatusCode) 502 "the answer"
                })

            case "connections to backends are counted with the names of the Go implementation" (fun () ->
                task {
                    use alpha = new HttpPeer "alpha"
                    let dead = Ports.free ()

                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [
                                    Json.httpRoute "alpha" "alpha.example"
                                    Json.httpRoute "dead" "dead.example"
                                    Json.httpRoute "quiet" "quiet.example"
                                ]
                                [],
                            Json.pool
                                [
                                    Json.backend "alpha" alpha.Port
                                    Json.backend "dead" dead
                                    $$"""{ "name": "quiet", "disable_conntracking": true, "host": { "dns_name": "127.0.0.1", "port": {{dead}} } }"""
                                ]
                                [],
                            []
                        )

                    use client = Clients.http1 kedge.HttpsPort None

                    for host in [ "alpha"; "alpha"; "dead"; "quiet" ] do
                        let! _ = get client $"https://{host}.example/" []
                        ()

                    let count what labels = DebugPort.metric kedge $"net_conntrack_dialer_conn_{what}_total" labels
                    let! attempted = count "attempted" [ "dialer_name", "http_backend_alpha" ]
                    let! established = count "established" [ "dialer_name", "http_backend_alpha" ]

                    let! refused =
                        count "failed" [ "dialer_name", "http_backend_dead"; "reason", "refused" ]

                    let! quiet = count "attempted" [ "dialer_name", "http_backend_quiet" ]
                    Expect.equal (attempted, established) (1.0, 1.0) "one connection for both requests"
                    Expect.equal refused 1.0 "refused"
                    Expect.equal quiet 0.0 "not counted"
                })
        ]
