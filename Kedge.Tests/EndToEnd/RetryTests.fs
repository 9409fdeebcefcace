/// Timeouts and retries of routes, over HTTP/1.1, HTTP/2 and gRPC with real callers and backends.
module Kedge.Tests.EndToEnd.RetryTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Http
open System.Net.Sockets
open System.Net.WebSockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// How often each path was asked for, and the lengths of the bodies.
let private received = ConcurrentDictionary<string, int list>()

let private sent (path: string) =
    match received.TryGetValue path with
    | true, bodies -> List.rev bodies
    | _ -> []

let private readBody (stream: Stream) (head: string) =
    task {
        let length =
            head.Split "\r\n"
            |> Array.tryPick (fun line ->
                if line.StartsWith("content-length:", StringComparison.OrdinalIgnoreCase) then
                    Some(int (line.Substring 15))
                else
                    None)
            |> Option.defaultValue 0

        let body = Array.zeroCreate<byte> length
        do! stream.ReadExactlyAsync(body.AsMemory())
        return length
    }

/// Nothing more is sent until kedge gives up.
let private untilClosed (stream: NetworkStream) : Task =
    task {
        let! _ = RawPeer.ReadToEnd stream
        ()
    }

/// Does what the first element of the path says, on a connection for each request.
let private answer (stream: NetworkStream) : Task =
    task {
        let! head = RawPeer.ReadHead stream

        if head <> "" then
            let path = (head.Split ' ')[1]
            let fault = (path.Split '/')[1]

            let! length =
                if fault = "early" then
                    Task.FromResult 0
                else
                    readBody stream head

            let bodies =
                received.AddOrUpdate(path, [ length ], (fun _ bodies -> length :: bodies))

            let isFirst = bodies.Length = 1

            let reply (status: string) (more: string) =
                RawPeer.Write(
                    stream,
                    $"HTTP/1.1 {status}\r\nConnection: close\r\n{more}X-Number: {bodies.Length}\r\nContent-Length: 2\r\n\r\nok"
                )

            match fault with
            | "early" when not isFirst ->
                let! _ = readBody stream head
                do! reply "200 OK" ""
            | "early"
            | "busy" when isFirst -> do! reply "503 Busy" ""
            | "always" -> do! reply "503 Busy" ""
            | "pushback" -> do! reply "503 Busy" "Retry-After: 5\r\n"
            | "reset" when isFirst ->
                stream.Socket.LingerState <- LingerOption(true, 0)
                stream.Socket.Close()
            | "partial" when isFirst -> do! RawPeer.Write(stream, "HTTP/1.1 200 OK\r\nX-Part")
            | "slow" when isFirst -> do! untilClosed stream
            | "cut" -> do! RawPeer.Write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab")
            | "stuck" ->
                do! RawPeer.Write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab")
                do! untilClosed stream
            | "silent" -> do! untilClosed stream
            | _ -> do! reply "200 OK" ""
    }

let private peer = Shared.make (fun () -> new RawPeer(answer))
let private sockets = Shared.make (fun () -> new HttpPeer "sockets")
let private calls = Shared.make (fun () -> new GrpcPeer "calls")

let private policies = [ "none"; "idempotent"; "key"; "any" ]

let private retry (methods: string) (attempts: int) =
    $$""""retry": { "attempts": {{attempts}}, "on": ["503", "RESET_BEFORE_HEADERS", "ATTEMPT_TIMEOUT"],
                    "methods": "{{methods}}", "backoff": { "base": "1ms", "max": "5ms" } }"""

let private route (host: string) (backend: string) (fields: string) =
    $$"""{ "backend_name": "{{backend}}", "host_matcher": "{{host}}.example", {{fields}} }"""

let private call (host: string) (fields: string) =
    $$"""{ "backend_name": "calls", "authority_host_matcher": "{{host}}.example", {{fields}} }"""

/// For the faults that a timeout ends: long enough for a busy machine to send the request and to get a response.
let private attempt = """"timeouts": { "attempt": "4s" }"""

let private unhurried = """"timeouts": { "attempt": "20s" }"""

/// The route of a policy for a fault: its timeout does not end what ends by itself.
let private hostOf (policy: string) (fault: string) = if fault = "slow" then policy else $"{policy}-unhurried"

let private director =
    Json.director
        [
            for suffix, timeouts in [ "", attempt; "-unhurried", unhurried ] do
                route $"none{suffix}" "web" timeouts
                route $"idempotent{suffix}" "web" $"""{timeouts}, {retry "IDEMPOTENT" 1}"""
                route $"key{suffix}" "web" $"""{timeouts}, {retry "IDEMPOTENCY_KEY" 1}"""
                route $"any{suffix}" "web" $"""{timeouts}, {retry "ANY" 1}"""

            route "twice" "web" $"""{unhurried}, {retry "IDEMPOTENT" 2}"""
            route "storm" "storm" $"""{unhurried}, {retry "IDEMPOTENT" 3}"""
            route "limited" "web" """ "timeouts": { "request": "4s" } """
            route "sockets" "sockets" """ "timeouts": { "request": "3s", "attempt": "2s" } """
        ]
        [
            call
                "retried"
                """ "timeouts": { "request": "30s", "attempt": "10s" },
                    "retry": { "attempts": 2, "grpc_on": ["UNAVAILABLE"], "methods": "ANY",
                               "backoff": { "base": "1ms" } } """
            call "limited" """ "timeouts": { "request": "2s" } """
        ]

let private kedge =
    Shared.make (fun () ->
        let budget name port budget =
            $$"""{ "name": "{{name}}", "host": { "dns_name": "127.0.0.1", "port": {{port}} }, "retry_budget": {{budget}} }"""

        let pool =
            Json.pool
                [
                    budget "web" peer.Value.Port """{ "min_per_second": 10000 }"""
                    budget "storm" peer.Value.Port """{ "percent": 20, "interval": "1m", "min_per_second": 0 }"""
                    Json.backend "sockets" sockets.Value.Port
                ]
                [ Json.backend "calls" calls.Value.Port ]

        Kedge.Start(director, pool, [ "--log_level=debug" ]).GetAwaiter().GetResult())

let private clients =
    lazy
        [
            "HTTP/1.1", Clients.http1 kedge.Value.HttpsPort None
            "HTTP/2", Clients.http2 kedge.Value.HttpsPort None
        ]

let private eachProtocol (test: string -> HttpClient -> Task<unit>) =
    task {
        for protocol, client in clients.Value do
            do! test protocol client
    }

/// A path on which the peer does this, and nobody else asks for.
let private path (fault: string) = $"""/{fault}/{Guid.NewGuid().ToString "N"}"""

let private request (method: string) (host: string) (path: string) (hasKey: bool) (body: string) =
    let request =
        new HttpRequestMessage(HttpMethod method, $"https://{host}.example{path}")

    if hasKey then
        request.Headers.Add("Idempotency-Key", "1")

    if body <> "" then
        request.Content <- new StringContent(body, Encoding.ASCII)

    request

let private idempotent = set [ "GET"; "HEAD"; "OPTIONS"; "PUT"; "DELETE" ]

let private retries (outcome: string) (backend: string) =
    task {
        let! samples = DebugPort.samples kedge.Value

        return
            samples
            |> List.filter (fun sample ->
                sample.Name = "kedge_retries_total"
                && sample.Labels["backend_name"] = backend
                && sample.Labels["outcome"] = outcome)
            |> List.sumBy _.Value
    }

/// A gRPC call that fails, with its status and how often kedge sent it.
let private failing (host: string) (act: Echo.EchoClient -> Task) =
    task {
        use channel = Clients.grpc kedge.Value.GrpcPort None $"{host}.example"

        let! error =
            failure<RpcException> host (fun () -> task { do! act (Echo.EchoClient channel) })

        let attempts =
            error.Trailers
            |> Seq.tryFind (fun entry -> entry.Key = "x-kedge-attempts")
            |> Option.map _.Value

        return error.StatusCode, attempts
    }

[<Tests>]
let tests =
    testList
        "timeouts and retries"
        [
            case "no request that is not idempotent is sent twice, unless the route says so" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let isSentTwice policy fault (method: string) hasKey =
                            task {
                                let path = path fault
                                let body = if method.StartsWith 'P' then "hello" else ""
                                let what = $"{protocol}: {policy}, {fault}, {method}, {hasKey}"

                                let mayBeTwice =
                                    match policy with
                                    | "none" -> false
                                    | "any" -> true
                                    | "key" when hasKey -> true
                                    | _ -> idempotent.Contains method

                                let isTwice = mayBeTwice && fault <> "cut"
                                let message = request method (hostOf policy fault) path hasKey body

                                let! status =
                                    task {
                                        try
                                            let! answer = send client message
                                            return answer.Status
                                        with :? HttpRequestException ->
                                            return 0
                                    }

                                let bodies = sent path
                                Expect.equal bodies.Length (if isTwice then 2 else 1) what

                                for length in bodies do
                                    Expect.equal length body.Length $"{what}: the whole body"

                                if isTwice then
                                    Expect.equal status 200 what

                                return isTwice
                            }

                        let mutable twice = 0

                        for fault in [ "busy"; "reset"; "partial"; "slow"; "cut" ] do
                            // Side by side: what a timeout ends takes as long as one of them.
                            let! areTwice =
                                Task.WhenAll
                                    [
                                        for policy in policies do
                                            for method in
                                                [ "GET"; "HEAD"; "OPTIONS"; "PUT"; "DELETE"; "POST"; "PATCH" ] do
                                                isSentTwice policy fault method false

                                            isSentTwice policy fault "POST" true
                                            isSentTwice policy fault "PATCH" true
                                    ]

                            twice <- twice + (areTwice |> Seq.filter id |> Seq.length)

                        Expect.isGreaterThan twice 60 "some are sent twice"
                    }))

            case
                "retries of a backend that answers 503 to everything stay within the budget; a POST is sent once"
                (fun () ->
                    task {
                        let path = path "always"
                        let posts = $"{path}/post"
                        let client = snd clients.Value.Head
                        let count = 500

                        let sends (method: string) (path: string) =
                            task {
                                for _ in 1 .. count / 10 do
                                    let! answer = send client (request method "storm" path false "")
                                    Expect.equal answer.Status 503 "the answer of the backend"
                            }

                        let! _ =
                            Task.WhenAll
                                [ for i in 1..20 -> if i % 2 = 0 then sends "GET" path else sends "POST" posts ]

                        let extra = (sent path).Length - count
                        Expect.equal (sent posts).Length count "each POST once"
                        // POSTs are first attempts, too.
                        Expect.isLessThanOrEqual extra (2 * count / 5) "a fifth of the first attempts"
                        Expect.isGreaterThan extra (count / 10) "there were some"
                        let! failed = retries "failure" "storm"
                        let! withheld = retries "withheld_budget" "storm"
                        let! methods = retries "withheld_method" "storm"
                        Expect.equal (int failed) extra "each retry is counted"
                        Expect.isGreaterThan withheld 0.0 "some were withheld"
                        Expect.equal (int methods) count "each POST is counted"

                        let! tokens =
                            DebugPort.metric kedge.Value "kedge_retry_budget_tokens" [ "backend_name", "storm" ]

                        Expect.isLessThan tokens 1.0 "nothing is left"
                    })

            case "the last answer comes to the caller as it is, and says how often the request was sent" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let path = path "always"
                        let! answer = send client (request "GET" "twice" path false "")
                        Expect.equal (answer.Status, answer.Body) (503, "ok") protocol
                        Expect.equal (answer.Header "X-Number") "3" $"{protocol}: the third"
                        Expect.equal (answer.Header "X-Kedge-Attempts") "3" protocol
                        Expect.equal (sent path).Length 3 protocol
                        let! page = DebugPort.text kedge.Value "/debug/requests"
                        Expect.stringContains page "(503), 127.0.0.1" $"{protocol}: all attempts are listed"

                        let! answer =
                            send client (request "GET" "twice" (path.Replace("always", "ok")) false "")

                        Expect.equal (answer.Header "X-Kedge-Attempts") "" $"{protocol}: not for one attempt"
                    }))

            case "an endpoint that asks for a longer pause than the policy allows gets no retry" (fun () ->
                task {
                    let path = path "pushback"
                    let! answer = send (snd clients.Value.Head) (request "GET" "twice" path false "")
                    Expect.equal (answer.Status, answer.Header "Retry-After") (503, "5") "the answer of the backend"
                    Expect.equal (sent path).Length 1 "once"
                    let! withheld = retries "withheld_pushback" "web"
                    Expect.isGreaterThan withheld 0.0 "counted"
                })

            case "a body is sent again whole up to max_body; a larger one goes through once" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let kept = path "busy"
                        let! answer = send client (request "POST" "any" kept false (String('x', 65536)))
                        Expect.equal answer.Status 200 protocol
                        Expect.equal (sent kept) [ 65536; 65536 ] $"{protocol}: twice"
                        let early = path "early"
                        let! answer = send client (request "POST" "any" early false (String('x', 60000)))
                        Expect.equal answer.Status 200 $"{protocol}: after a response before the body"
                        let large = path "busy"
                        let! answer = send client (request "POST" "any" large false (String('x', 65537)))
                        Expect.equal answer.Status 503 $"{protocol}: the answer of the backend"
                        Expect.equal (sent large) [ 65537 ] $"{protocol}: once"
                    }))

            case "a request that takes too long gets 504; a response that has started is cut" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let tooLong host =
                            task {
                                let! answer = send client (request "GET" host (path "silent") false "")

                                Expect.equal
                                    (answer.Status, answer.Header "X-Kedge-Error-Type")
                                    (504, "transport-timeout")
                                    $"{protocol}, {host}"
                            }

                        let cut host =
                            task {
                                let! _ =
                                    failure<HttpRequestException> $"{protocol}, {host}: it is incomplete" (fun () ->
                                        send client (request "GET" host (path "stuck") false ""))

                                ()
                            }

                        let! _ =
                            Task.WhenAll [ tooLong "limited"; tooLong "none"; cut "limited"; cut "none" ]

                        ()
                    }))

            case "a WebSocket may take any time" (fun () ->
                task {
                    let path = path "socket"
                    sockets.Value.OnWebSocketEcho path
                    use invoker = new HttpMessageInvoker(Clients.handler kedge.Value.HttpsPort None)
                    use socket = new ClientWebSocket()
                    use limit = new CancellationTokenSource(patience)
                    do! socket.ConnectAsync(Uri $"wss://sockets.example{path}", invoker, limit.Token)
                    do! Task.Delay 3500
                    let message = ArraySegment(Encoding.ASCII.GetBytes "still here")
                    do! socket.SendAsync(message, WebSocketMessageType.Text, true, limit.Token)
                    let buffer = Array.zeroCreate<byte> 64
                    let! echo = socket.ReceiveAsync(ArraySegment buffer, limit.Token)
                    Expect.equal (Encoding.ASCII.GetString(buffer, 0, echo.Count)) "still here" "echo"
                })

            case "a gRPC call is retried when it fails without headers, and only then" (fun () ->
                task {
                    let unavailable = uint32 StatusCode.Unavailable

                    let! status, attempts =
                        failing "retried" (fun client ->
                            client.UnaryAsync(EchoRequest(FailWith = unavailable)).ResponseAsync)

                    Expect.equal (status, attempts) (StatusCode.Unavailable, Some "3") "without headers"

                    let! status, attempts =
                        failing "retried" (fun client ->
                            client.UnaryAsync(EchoRequest(FailWith = uint32 StatusCode.Internal)).ResponseAsync)

                    Expect.equal (status, attempts) (StatusCode.Internal, None) "another status"

                    let! status, attempts =
                        failing "retried" (fun client ->
                            task {
                                let asked = EchoRequest(Replies = 1u, FailWith = unavailable)
                                use call = client.ServerStream asked

                                while! call.ResponseStream.MoveNext CancellationToken.None do
                                    ()
                            })

                    Expect.equal (status, attempts) (StatusCode.Unavailable, None) "after headers"
                })

            case "a gRPC call ends at the deadline of its route, of which the backend knows" (fun () ->
                task {
                    let! status, _ =
                        failing "limited" (fun client ->
                            client.UnaryAsync(EchoRequest(DelayMs = 60000u)).ResponseAsync)

                    Expect.equal status StatusCode.DeadlineExceeded "unary"

                    let! status, _ =
                        failing "limited" (fun client ->
                            task {
                                use call = client.ServerStream(EchoRequest(Replies = 500u, DelayMs = 100u))

                                while! call.ResponseStream.MoveNext CancellationToken.None do
                                    ()
                            })

                    Expect.equal status StatusCode.DeadlineExceeded "a stream"
                    use channel = Clients.grpc kedge.Value.GrpcPort None "retried.example"
                    let id = Guid.NewGuid().ToString "N"
                    let metadata = Metadata()
                    metadata.Add("x-id", id)

                    let! _ =
                        Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"), metadata).ResponseAsync

                    let deadline = (calls.Value.CallWith("x-id", id)).Deadline
                    Expect.isLessThan deadline (DateTime.UtcNow.AddSeconds 11.0) "that of the attempt"
                })

            case "explain, check and diff know timeouts and retries" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", director)

                    let pool =
                        scratch.Write("pool.json", Json.pool [ Json.backend "web" 80 ] [ Json.backend "calls" 81 ])

                    let explain (method: string) =
                        task {
                            let! _, out, _ =
                                run
                                    [
                                        "explain"
                                        InspectionStage.director file
                                        InspectionStage.pool pool
                                        method
                                        "https://idempotent.example/"
                                    ]

                            return String.Join('\n', out)
                        }

                    let! get = explain "GET"
                    Expect.stringContains get "timeouts: attempt 4s" "the timeout"

                    Expect.stringContains
                        get
                        "retries: GET: up to 1 more on 503, RESET_BEFORE_HEADERS, ATTEMPT_TIMEOUT, other endpoint first; budget 20 % of web"
                        "retries"

                    let! post = explain "POST"
                    Expect.stringContains post "retries: POST: not retried (not idempotent)" "no retries"

                    let! _, out, _ =
                        run [ "check"; InspectionStage.director file; InspectionStage.pool pool ]

                    let report = String.Join('\n', out)

                    for expected in
                        [
                            "retry-not-idempotent"
                            "retry-without-alternative"
                            "timeout-ends-streams"
                            "POST https://any.example"
                        ] do
                        Expect.stringContains report expected "check"

                    let changed = scratch.Write("changed.json", director.Replace("4s", "5s"))
                    let! code, out, _ = run [ "diff"; "--exit_code"; file; changed ]
                    Expect.equal code 1 "a difference"
                    let report = String.Join('\n', out)
                    Expect.stringContains report "timeouts attempt 4s, without retries" "before"
                    Expect.stringContains report "timeouts attempt 5s, without retries" "after"

                    let wrong =
                        scratch.Write(
                            "wrong.json",
                            Json.director
                                [ route "a" "web" """ "timeouts": { "request": "1s", "attempt": "2s" } """ ]
                                [ call "b" """ "retry": { "attempts": 1, "grpc_on": ["UNAVAILABLE"] } """ ]
                        )

                    let! code, out, errors =
                        run [ "check"; InspectionStage.director wrong; InspectionStage.pool pool ]

                    Expect.equal code 1 "rejected"
                    let report = String.Join('\n', Array.append out errors)
                    Expect.stringContains report "attempt-exceeds-request" "the attempt"
                    Expect.stringContains report "must be ANY" "gRPC"
                })
        ]
