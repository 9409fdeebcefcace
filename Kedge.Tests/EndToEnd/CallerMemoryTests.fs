/// Callers that make kedge hold memory for them: large headers in few bytes, and responses that nobody reads.
module Kedge.Tests.EndToEnd.CallerMemoryTests

open System
open System.Threading.Tasks
open Expecto
open Google.Protobuf
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// The indexed field 62 (RFC 7541, 6.1): the newest entry of the dynamic table.
let private newest = 0xBEuy

/// A field of 3,900 characters that the dynamic table remembers (RFC 7541, 6.2.1).
let private remembered =
    let field = HeaderBlock.plain [ "x-filler", String('x', 3900) ]
    field[0] <- 0x40uy
    field

let private request =
    HeaderBlock.plain
        [
            ":method", "GET"
            ":scheme", "https"
            ":authority", "held.example"
            ":path", "/"
        ]

let private headers (client: Http2Frames) (id: int) (block: byte array) : Task = client.Send(1uy, 5uy, id, block)

/// A connection with 250 requests to `held.example`, whose headers have 117,000 characters each in 30 bytes.
let amplified (port: int) : Task<Http2Frames> =
    task {
        let! client = Http2Frames.Connect port
        do! headers client 1 (Array.append request remembered)

        for i in 1..249 do
            do! headers client (2 * i + 1) (Array.append request (Array.replicate 30 newest))

        return client
    }

let private isServed (kedge: Kedge) =
    task {
        use client = Clients.http2 kedge.HttpsPort None
        let! answer = get client "https://alpha.example/" []
        Expect.equal (answer.Status, answer.Body) (200, "alpha") "another caller"
    }

[<Tests>]
let headerMemory =
    testSequenced
    <| testList
        "header memory"
        [
            case "large headers that HPACK names with one byte are bounded for a connection, and given back" (fun () ->
                task {
                    use hanging = RawPeer.Hanging()

                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [
                                    Json.httpRoute "hanging" "held.example"
                                    Json.httpRoute "alpha" "alpha.example"
                                ]
                                [],
                            Json.pool [ Json.backend "hanging" hanging.Port; Json.backend "alpha" alpha.Value.Port ] [],
                            [ "--server_http_max_write_timeout=60s" ]
                        )

                    do! isServed kedge
                    let before = kedge.Program.ResidentBytes

                    let! clients = Task.WhenAll [ for _ in 1..3 -> amplified kedge.HttpsPort ]
                    let rejected = "kedge_proxy_errors_total", [ "type", "too-many-requests" ]

                    do!
                        eventually "most requests are rejected" (fun () ->
                            (DebugPort.metric kedge (fst rejected) (snd rejected)).GetAwaiter().GetResult() > 600.0)

                    do! isServed kedge
                    let grown = kedge.Program.ResidentBytes - before
                    Expect.isLessThan grown 250_000_000L "bytes more than before, for three connections"
                    let client = clients[0]

                    for i in 0..249 do
                        do! client.Reset(2 * i + 1)

                    let block =
                        HeaderBlock.plain
                            [
                                ":method", "GET"
                                ":scheme", "https"
                                ":authority", "alpha.example"
                                ":path", "/afterwards"
                            ]

                    do! headers client 501 block

                    let! events =
                        client.ReadUntil(function
                            | Ended 501
                            | Closed -> true
                            | _ -> false)

                    Expect.contains events (Status(501, 200)) "the same connection, afterwards"

                    for client in clients do
                        (client :> IDisposable).Dispose()
                })
        ]

/// The only message of a call to the echo service.
let private message (request: EchoRequest) =
    let body = request.ToByteArray()

    [|
        0uy
        byte (body.Length >>> 24)
        byte (body.Length >>> 16)
        byte (body.Length >>> 8)
        byte body.Length
        yield! body
    |]

/// A call to `echo.example` that asks for a stream of replies.
let call (client: Http2Frames) (id: int) (request: EchoRequest) : Task<unit> =
    task {
        do!
            client.Headers(
                id,
                [
                    ":method", "POST"
                    ":scheme", "https"
                    ":authority", "echo.example"
                    ":path", "/kedge.test.Echo/ServerStream"
                    "content-type", "application/grpc"
                    "te", "trailers"
                ],
                false
            )

        do! client.Send(0uy, 1uy, id, message request)
    }

/// INITIAL_WINDOW_SIZE 0: no byte of a body may be sent.
let closeWindow (client: Http2Frames) : Task = client.Send(4uy, 0uy, 0, [| 0uy; 4uy; 0uy; 0uy; 0uy; 0uy |])

let private isReset id event =
    match event with
    | Reset(stream, _) -> stream = id
    | Closed -> true
    | _ -> false

[<Tests>]
let unread =
    testList
        "unread responses"
        [
            case
                "a gRPC call whose caller reads nothing of what is due ends after --server_response_unread_timeout"
                (fun () ->
                    task {
                        use peer = new GrpcPeer "unread"

                        use! kedge =
                            Kedge.Start(
                                Json.director [] [ Json.grpcRoute "unread" "echo.example" ],
                                Json.pool [] [ Json.backend "unread" peer.Port ],
                                [ "--server_response_unread_timeout=2s" ]
                            )

                        use! client = Http2Frames.Connect kedge.GrpcPort
                        do! closeWindow client
                        let large = ByteString.CopyFrom(Array.zeroCreate<byte> 10_000)
                        do! call client 1 (EchoRequest(Replies = 1_000u, Payload = large))
                        let! events = client.ReadUntil(isReset 1)
                        Expect.exists events (isReset 1) "the stream is reset"
                        do! finishes "the end of the call at the backend" (Array.exactlyOne peer.Calls).Cancelled

                        let! ended =
                            DebugPort.metric kedge "kedge_proxy_errors_total" [ "type", "request-timeout" ]

                        Expect.equal ended 1.0 "counted as the caller's"
                    })

            case "a gRPC stream to which nothing is due may be silent for any time" (fun () ->
                task {
                    use peer = new GrpcPeer "silent"

                    use! kedge =
                        Kedge.Start(
                            Json.director [] [ Json.grpcRoute "silent" "echo.example" ],
                            Json.pool [] [ Json.backend "silent" peer.Port ],
                            [ "--server_response_unread_timeout=1s" ]
                        )

                    use channel = Clients.grpc kedge.GrpcPort None "echo.example:443"
                    let client = Echo.EchoClient channel
                    use stream = client.Bidi()
                    do! stream.RequestStream.WriteAsync(EchoRequest(Text = "first"))
                    let! _ = stream.ResponseStream.MoveNext Threading.CancellationToken.None

                    do!
                        Absence.during (TimeSpan.FromSeconds 3.0) "the end of the call" (fun () ->
                            Task.FromResult (Array.exactlyOne peer.Calls).Cancelled.IsCompleted)

                    do! stream.RequestStream.WriteAsync(EchoRequest(Text = "second"))
                    let! more = stream.ResponseStream.MoveNext Threading.CancellationToken.None
                    Expect.isTrue more "the stream lives"
                    Expect.equal stream.ResponseStream.Current.Text "second" "reply"
                    do! stream.RequestStream.CompleteAsync()
                })
        ]
