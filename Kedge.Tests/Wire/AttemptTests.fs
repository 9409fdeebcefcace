/// Which failures of an HTTP/2 endpoint are hidden from the caller by another attempt, and which are reported, and how.
module Kedge.Tests.Wire.AttemptTests

open System
open System.Collections.Concurrent
open System.Net.Http
open System.Security.Cryptography.X509Certificates
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private certificate: Lazy<X509Certificate2> =
    lazy (Certificates.authority.Value.Server()).Certificate

/// A kedge whose only backend `web` speaks HTTP/2: over TLS for HTTP, in plain text for gRPC.
let private start (http: int option) (grpc: int option) =
    let tls port =
        $$"""{ "name": "web", "security": { "insecure_skip_verify": true }, "host": { "dns_name": "127.0.0.1", "port": {{port}} } }"""

    Kedge.Start(
        Json.director
            [
                for _ in Option.toList http do
                    Json.httpRoute "web" "web.example"
            ]
            [
                for _ in Option.toList grpc do
                    Json.grpcRoute "web" "web.example"
            ],
        Json.pool
            [ yield! Option.toList http |> List.map tls ]
            [ yield! Option.toList grpc |> List.map (Json.backend "web") ],
        []
    )

let private ok (connection: Http2PeerConnection) (frame: Http2Frame) (body: string) =
    task {
        do! connection.Headers(frame.Stream, [ ":status", "200" ], false)
        do! connection.Data(frame.Stream, Text.Encoding.ASCII.GetBytes body, true)
    }

let private grpcRequest (body: byte array) =
    let content = new ByteArrayContent(body)
    content.Headers.Add("Content-Type", "application/grpc")
    new HttpRequestMessage(HttpMethod.Post, "https://web.example/s/M", Content = content)

let private grpcOk =
    [ ":status", "200"; "content-type", "application/grpc"; "grpc-status", "0" ]

let private grpcHead = [ ":status", "200"; "content-type", "application/grpc" ]

let private trailer (name: string) (response: Response) =
    match response.Message.TrailingHeaders.TryGetValues name with
    | true, NonNull values -> Seq.head values
    | _ -> response.Header name

[<Tests>]
let tests =
    testList
        "attempts over HTTP/2"
        [
            for how in [ "closes the connection"; "says GOAWAY and closes the connection" ] do
                case
                    $"a GET whose reused connection the endpoint ends without a response is sent once more: it {how}"
                    (fun () ->
                        task {
                            use peer =
                                new Http2Peer(
                                    [||],
                                    Some certificate.Value,
                                    fun connection frame ->
                                        task {
                                            if connection.Number = 1 && frame.Stream > 1 then
                                                if how.StartsWith("says", StringComparison.Ordinal) then
                                                    do! connection.GoAway(frame.Stream, 0uy)

                                                connection.Close()

                                            do! ok connection frame $"connection {connection.Number}"
                                        }
                                )

                            use! kedge = start (Some peer.Port) None
                            use client = Clients.http1 kedge.HttpsPort None
                            let! first = get client "https://web.example/" []
                            let! second = get client "https://web.example/" []
                            Expect.equal (first.Status, first.Body) (200, "connection 1") "first"

                            Expect.equal
                                (second.Status, second.Body)
                                (200, "connection 2")
                                (second.Header "X-Kedge-Error")
                        })

            case "a POST whose reused connection the endpoint closes without a response is not sent again" (fun () ->
                task {
                    let requests = ref 0

                    use peer =
                        new Http2Peer(
                            [||],
                            Some certificate.Value,
                            fun connection frame ->
                                task {
                                    if frame.IsHeaders then
                                        Interlocked.Increment requests |> ignore

                                    if frame.EndsStream then
                                        if connection.Number = 1 && frame.Stream > 1 then
                                            connection.Close()

                                        do! ok connection frame "ok"
                                }
                        )

                    use! kedge = start (Some peer.Port) None
                    use client = Clients.http1 kedge.HttpsPort None
                    let! first = get client "https://web.example/" []
                    let! second = post client "https://web.example/" "body"
                    Expect.equal first.Status 200 "first"

                    Expect.equal
                        (second.Status, second.Header "X-Kedge-Error-Type")
                        (502, "transport-unknown-error")
                        "second"

                    Expect.equal requests.Value 2 "sent once"
                })

            case "50 calls at once to an endpoint with 3 streams for each connection succeed" (fun () ->
                task {
                    let streams = ConcurrentDictionary<int, int>()
                    let most = ref 0

                    use peer =
                        new Http2Peer(
                            [| 0uy; 3uy; 0uy; 0uy; 0uy; 3uy |],
                            None,
                            fun connection frame ->
                                task {
                                    if frame.IsHeaders then
                                        let now = streams.AddOrUpdate(connection.Number, 1, (fun _ count -> count + 1))
                                        most.Value <- max most.Value now

                                        if now > 3 then
                                            streams.AddOrUpdate(connection.Number, 0, (fun _ count -> count - 1))
                                            |> ignore

                                            do! connection.Reset(frame.Stream, 7uy)

                                    if frame.EndsStream then
                                        // After the frames that arrived with this one.
                                        let later: Task =
                                            task {
                                                do! Task.Delay 20

                                                streams.AddOrUpdate(connection.Number, 0, (fun _ count -> count - 1))
                                                |> ignore

                                                do! connection.Headers(frame.Stream, grpcOk, true)
                                            }

                                        later |> ignore
                                }
                        )

                    use! kedge = start None (Some peer.Port)
                    use client = Clients.http2 kedge.GrpcPort None

                    let! answers =
                        Task.WhenAll [ for _ in 1..50 -> send client (grpcRequest [| 0uy; 0uy; 0uy; 0uy; 0uy |]) ]

                    let failed =
                        answers
                        |> Array.filter (fun answer -> trailer "grpc-status" answer <> "0")
                        |> Array.map (fun answer -> answer.Header "X-Kedge-Error")

                    Expect.equal failed [||] "failed"
                    Expect.isLessThanOrEqual most.Value 3 "streams on one connection"
                })

            for size in [ 3_000; 60_000; 100_000; 200_000 ] do
                case $"an upload of {size} bytes that GOAWAY leaves out is sent again" (fun () ->
                    task {
                        let received = ConcurrentDictionary<int * int, int>()

                        use peer =
                            new Http2Peer(
                                [||],
                                Some certificate.Value,
                                fun connection frame ->
                                    task {
                                        let key = connection.Number, frame.Stream

                                        let total =
                                            received.AddOrUpdate(
                                                key,
                                                0,
                                                (fun _ count ->
                                                    count + if frame.IsHeaders then 0 else frame.Payload.Length)
                                            )

                                        if connection.Number = 1 && frame.Stream > 1 then
                                            // All that the window lets through has come.
                                            if total >= 65_535 || frame.EndsStream then
                                                do! connection.GoAway(frame.Stream - 2, 0uy)
                                                connection.Close()
                                        else
                                            do! connection.Grant frame

                                            if frame.EndsStream then
                                                do! ok connection frame $"got {total}"
                                    }
                            )

                        use! kedge = start (Some peer.Port) None
                        use client = Clients.http1 kedge.HttpsPort None
                        let! first = get client "https://web.example/" []
                        Expect.equal first.Status 200 "first"

                        let! answer =
                            send
                                client
                                (new HttpRequestMessage(
                                    HttpMethod.Post,
                                    "https://web.example/",
                                    Content = new ByteArrayContent(Array.zeroCreate size)
                                ))

                        Expect.equal (answer.Status, answer.Body) (200, $"got {size}") (answer.Header "X-Kedge-Error")
                    })

            case "a call that GOAWAY with an error ends fails at once, on a connection that is left open" (fun () ->
                task {
                    use peer =
                        new Http2Peer(
                            [||],
                            None,
                            fun connection frame ->
                                task {
                                    if frame.IsHeaders then
                                        do! connection.GoAway(frame.Stream, 9uy)
                                }
                        )

                    use! kedge = start None (Some peer.Port)
                    use client = Clients.http2 kedge.GrpcPort None
                    let! answer = send client (grpcRequest [| 0uy; 0uy; 0uy; 0uy; 0uy |])
                    Expect.equal (trailer "grpc-status" answer) "14" "status"
                    Expect.equal (answer.Header "X-Kedge-Error-Type") "transport-unknown-error" "type"
                })

            for how in
                [
                    "is reset with INTERNAL_ERROR"
                    "is reset with CANCEL"
                    "ends with its connection"
                ] do
                case $"a call whose response {how} ends in UNAVAILABLE" (fun () ->
                    task {
                        use peer =
                            new Http2Peer(
                                [||],
                                None,
                                fun connection frame ->
                                    task {
                                        if frame.EndsStream then
                                            do! connection.Headers(frame.Stream, grpcHead, false)
                                            do! connection.Data(frame.Stream, [| 0uy; 0uy; 0uy; 0uy; 1uy |], false)
                                            // The caller has the head by then.
                                            do! Task.Delay 100

                                            if how.EndsWith("INTERNAL_ERROR", StringComparison.Ordinal) then
                                                do! connection.Reset(frame.Stream, 2uy)
                                            elif how.EndsWith("CANCEL", StringComparison.Ordinal) then
                                                do! connection.Reset(frame.Stream, 8uy)
                                            else
                                                connection.Close()
                                    }
                            )

                        use! kedge = start None (Some peer.Port)
                        use client = Clients.http2 kedge.GrpcPort None
                        let! answer = send client (grpcRequest [| 0uy; 0uy; 0uy; 0uy; 0uy |])
                        Expect.equal (answer.Status, trailer "grpc-status" answer) (200, "14") "status"

                        do!
                            soon
                                patience
                                "it is counted as Unavailable"
                                (fun () ->
                                    DebugPort.metric kedge "grpc_server_handled_total" [ "grpc_code", "Unavailable" ])
                                ((=) 1.0)
                    })

            case "12 spellings of a host share the connections to a TLS backend" (fun () ->
                task {
                    use peer =
                        new Http2Peer([||], Some certificate.Value, (fun connection frame -> ok connection frame "ok"))

                    let director =
                        Json.director [ """{ "backend_name": "web", "path_rules": ["/*"] }""" ] []

                    use! kedge =
                        Kedge.Start(
                            director,
                            Json.pool
                                [
                                    $$"""{ "name": "web", "security": { "insecure_skip_verify": true }, "host": { "dns_name": "127.0.0.1", "port": {{peer.Port}} } }"""
                                ]
                                [],
                            []
                        )

                    use client = Clients.http1 kedge.HttpsPort None

                    for number in 1..12 do
                        let! answer = get client $"https://host{number}.example/" []
                        Expect.equal answer.Status 200 (answer.Header "X-Kedge-Error")

                    Expect.equal peer.Connections 1 "connections"
                })
        ]
