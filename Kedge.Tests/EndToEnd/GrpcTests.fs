module Kedge.Tests.EndToEnd.GrpcTests

open System
open System.Net.Http
open System.Net.Http.Headers
open System.Security.Cryptography
open System.Threading
open System.Threading.Tasks
open Expecto
open Google.Protobuf
open Grpc.Core
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Server.Kestrel.Core

let private metadata entries =
    let metadata = Metadata()

    for key: string, value: string in entries do
        metadata.Add(key, value)

    metadata

let private unique () = Guid.NewGuid().ToString "N"

/// The same test through both ports that take gRPC.
let private onBothPorts name (test: int -> Task<unit>) =
    case name (fun () ->
        task {
            for port, number in grpcPorts () do
                try
                    do! test number
                with error ->
                    failtestf "through the %s: %O" port error
        })

let private client authority port = Echo.EchoClient(Clients.grpc port None authority)

/// The status with which a call ends.
let private statusOf (call: unit -> Task) =
    task {
        let! error = failure<RpcException> "the call" call
        return error
    }

[<Tests>]
let shapes =
    testList
        "gRPC calls"
        [
            onBothPorts "unary: message, authority, metadata there and back, trailers" (fun port ->
                task {
                    let id = unique ()

                    use call =
                        (client "echo.example:443" port)
                            .UnaryAsync(EchoRequest(Text = "hi"), metadata [ "x-id", id; "authorization", "Bearer b" ])

                    let! headers = call.ResponseHeadersAsync
                    let! reply = call.ResponseAsync
                    Expect.equal (reply.Text, reply.Backend) ("hi", "echo") "reply"
                    Expect.stringStarts reply.Authority "echo.example" "the backend sees the caller's authority"
                    Expect.equal reply.Metadata["x-id"] id "metadata"
                    Expect.equal reply.Metadata["authorization"] "Bearer b" "Authorization is the backend's"
                    Expect.equal (headers.GetValue "x-peer") "echo" "response headers"
                    Expect.equal (headers.GetValue "x-kedge-backend-name") "echo" "the backend's name"
                    let trailers = call.GetTrailers()
                    Expect.equal (trailers.GetValue "x-trailer") "echo" "trailer"
                    Expect.equal (trailers.GetValueBytes "x-trailer-bin") [| 0uy; 1uy; 255uy |] "binary trailer"
                })

            onBothPorts "binary metadata passes, Proxy-Authorization does not" (fun port ->
                task {
                    let id = unique ()
                    let sent = metadata [ "x-id", id; "proxy-authorization", "Bearer secret" ]
                    sent.Add("x-data-bin", [| 0uy; 200uy; 255uy |])
                    let! _ = (client "echo.example:443" port).UnaryAsync(EchoRequest(), sent)
                    let call = echo.Value.CallWith("x-id", id)

                    Expect.contains
                        call.Metadata
                        ("x-data-bin", Convert.ToBase64String [| 0uy; 200uy; 255uy |])
                        "binary"

                    Expect.isFalse
                        (call.Metadata |> List.exists (fun (key, _) -> key = "proxy-authorization"))
                        "secret"

                    Expect.isTrue (call.Metadata |> List.exists (fun (key, _) -> key = "x-kedge-request-id")) "id"
                })

            onBothPorts "client streaming" (fun port ->
                task {
                    use call = (client "echo.example:443" port).ClientStream()

                    for text in [ "a"; "b"; "c" ] do
                        do! call.RequestStream.WriteAsync(EchoRequest(Text = text))

                    do! call.RequestStream.CompleteAsync()
                    let! reply = call.ResponseAsync
                    Expect.equal reply.Text "a,b,c" "reply"
                })

            onBothPorts "server streaming, ended with a status" (fun port ->
                task {
                    use call =
                        (client "echo.example:443" port)
                            .ServerStream(EchoRequest(Text = "n", Replies = 3u, FailWith = uint32 StatusCode.DataLoss))

                    let texts = ResizeArray<string>()

                    let! error =
                        statusOf (fun () ->
                            task {
                                while! call.ResponseStream.MoveNext CancellationToken.None do
                                    texts.Add call.ResponseStream.Current.Text
                            })

                    Expect.equal (List.ofSeq texts) [ "n1"; "n2"; "n3" ] "replies"
                    Expect.equal (error.StatusCode, error.Status.Detail) (StatusCode.DataLoss, "n") "status"
                    Expect.equal (error.Trailers.GetValue "x-trailer") "echo" "trailers"
                })

            onBothPorts "bidirectional: each reply comes before the next request" (fun port ->
                task {
                    use call = (client "echo.example:443" port).Bidi()

                    for number in 1..5 do
                        do! call.RequestStream.WriteAsync(EchoRequest(Text = string number))

                        let! more =
                            within $"reply {number}" (call.ResponseStream.MoveNext CancellationToken.None)

                        Expect.isTrue more "a reply"
                        Expect.equal call.ResponseStream.Current.Text (string number) "in step"

                    do! call.RequestStream.CompleteAsync()
                    let! more = call.ResponseStream.MoveNext CancellationToken.None
                    Expect.isFalse more "the end"
                    Expect.equal (call.GetStatus().StatusCode) StatusCode.OK "status"
                })

            onBothPorts "64 MB pass in both directions of one stream" (fun port ->
                task {
                    use call = (client "echo.example:443" port).Bidi()
                    let payload = ByteString.CopyFrom(RandomNumberGenerator.GetBytes(1024 * 1024))

                    let writing =
                        task {
                            for _ in 1..64 do
                                do! call.RequestStream.WriteAsync(EchoRequest(Payload = payload))

                            do! call.RequestStream.CompleteAsync()
                        }

                    let mutable replies = 0

                    while! call.ResponseStream.MoveNext CancellationToken.None do
                        if not (call.ResponseStream.Current.Payload.Equals payload) then
                            failtest "a payload changed on its way"

                        replies <- replies + 1

                    do! writing
                    Expect.equal replies 64 "replies"
                })

            onBothPorts "every status code and its message come back from the backend" (fun port ->
                task {
                    let echo = client "echo.example:443" port

                    for code in Enum.GetValues<StatusCode>() do
                        if code <> StatusCode.OK then
                            let message = $"{code}: 50 %%, grüße"

                            let! error =
                                statusOf (fun () ->
                                    echo.UnaryAsync(EchoRequest(Text = message, FailWith = uint32 code)).ResponseAsync)

                            Expect.equal (error.StatusCode, error.Status.Detail) (code, message) "status"
                })
        ]

/// A call with half a second to go.
let private callWithTimeout (port: int) (peer: HttpPeer) =
    task {
        use http = Clients.http2 port None

        let request =
            Clients.emptyCall $"https://127.0.0.1:{peer.Port}/kedge.test.Echo/Unary"

        request.Headers.TryAddWithoutValidation("grpc-timeout", "500m") |> ignore
        request.Headers.TryAddWithoutValidation("te", "trailers") |> ignore
        return! send http request
    }

[<Tests>]
let ends =
    testList
        "gRPC deadlines and cancellation"
        [
            onBothPorts "the deadline reaches the backend, and ends the call there too" (fun port ->
                task {
                    let id = unique ()
                    let before = DateTime.UtcNow

                    let! error =
                        statusOf (fun () ->
                            (client "echo.example:443" port)
                                .UnaryAsync(
                                    EchoRequest(DelayMs = 60_000u),
                                    metadata [ "x-id", id ],
                                    Nullable(before.AddSeconds 3.0)
                                )
                                .ResponseAsync)

                    Expect.equal error.StatusCode StatusCode.DeadlineExceeded "status"
                    let call = echo.Value.CallWith("x-id", id)
                    Expect.isLessThan call.Deadline (before.AddSeconds 20.0) "the backend's deadline"
                    do! finishes "the end of the backend's work" call.Cancelled
                })

            // The next two use a backend that knows no deadlines, reached by the ad-hoc rule for 127.0.0.1, and a plain HTTP
            // client, so that nobody but kedge watches the clock.
            onBothPorts "kedge itself ends a call whose backend says nothing" (fun port ->
                task {
                    use deaf = new HttpPeer("deaf", HttpProtocols.Http2, None)

                    deaf.On(
                        "/kedge.test.Echo/Unary",
                        fun context -> Task.Delay(Timeout.Infinite, context.RequestAborted)
                    )

                    let! answer = callWithTimeout port deaf
                    Expect.equal answer.Status 200 "HTTP status"
                    Expect.equal (answer.Header "grpc-status") "4" "DEADLINE_EXCEEDED"
                    Expect.equal (answer.Header "X-Kedge-Error-Type") "transport-timeout" "type"
                })

            onBothPorts
                "a deadline that passes after the headers or a message ends the call in its trailers"
                (fun port ->
                    task {
                        for body in [ [||]; Array.zeroCreate<byte> 5 ] do
                            use deaf = new HttpPeer("deaf", HttpProtocols.Http2, None)

                            deaf.On(
                                "/kedge.test.Echo/Unary",
                                fun context ->
                                    task {
                                        context.Response.ContentType <- "application/grpc"
                                        do! context.Response.StartAsync()
                                        do! context.Response.Body.WriteAsync(body.AsMemory())
                                        do! context.Response.Body.FlushAsync()
                                        do! Task.Delay(Timeout.Infinite, context.RequestAborted)
                                    }
                            )

                            let! answer = callWithTimeout port deaf
                            Expect.equal answer.Status 200 "HTTP status"
                            Expect.equal answer.Body.Length body.Length "what came before"

                            let status =
                                match answer.Message.TrailingHeaders.TryGetValues "grpc-status" with
                                | true, values -> String.Join(",", nonNull values)
                                | _ -> "none"

                            Expect.equal status "4" "DEADLINE_EXCEEDED"
                    })

            onBothPorts "a cancelled call is cancelled at the backend" (fun port ->
                task {
                    let id = unique ()
                    use leave = new CancellationTokenSource()

                    use call =
                        (client "echo.example:443" port).Bidi(metadata [ "x-id", id ], cancellationToken = leave.Token)

                    do! call.RequestStream.WriteAsync(EchoRequest(Text = "1"))

                    let! _ =
                        within "the first reply" (call.ResponseStream.MoveNext CancellationToken.None)

                    leave.Cancel()

                    let! error = statusOf (fun () -> call.ResponseStream.MoveNext CancellationToken.None)

                    Expect.equal error.StatusCode StatusCode.Cancelled "status"
                    do! finishes "the cancellation" (echo.Value.CallWith("x-id", id)).Cancelled
                })
        ]

[<Tests>]
let routing =
    let backendOf authority port entries =
        task {
            let! reply = (client authority port).UnaryAsync(EchoRequest(), metadata entries)
            return reply.Backend
        }

    testList
        "gRPC routing"
        [
            onBothPorts "by authority, port, metadata and service" (fun port ->
                task {
                    for authority, entries, expected in
                        [
                            "metadata.example:443", [ "env", "prod" ], "echo"
                            "metadata.example:443", [ "env", "test" ], "other-echo"
                            "metadata.example:443", [], "other-echo"
                            "ports.example:9001", [], "echo"
                            "ports.example:9002", [], "other-echo"
                            "service.example:443", [], "echo"
                        ] do
                        let! backend = backendOf authority port entries
                        Expect.equal backend expected $"{authority} %A{entries}"
                })

            onBothPorts "no route: UNIMPLEMENTED" (fun port ->
                task {
                    for authority in [ "nowhere.example:443"; "ports.example:9003" ] do
                        let! error =
                            statusOf (fun () -> (client authority port).UnaryAsync(EchoRequest()).ResponseAsync)

                        Expect.equal error.StatusCode StatusCode.Unimplemented authority
                })
        ]
