/// The responses that kedge itself generates: docs/matching.md#responses-from-kedge-itself.
module Kedge.Tests.EndToEnd.AnswerTests

open System
open System.Net.Http
open System.Net.Http.Headers
open System.Text
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// Host and port that bring the case about, its type, the HTTP status, the gRPC status.
let private rows =
    [
        "nowhere.example", "no-route", 502, StatusCode.Unimplemented
        "ghost.example", "no-backend", 502, StatusCode.Unavailable
        "unresolvable.example", "no-resolution-available", 503, StatusCode.Unavailable
        "refused.example", "no-connection-to-all-resolved-addresses", 502, StatusCode.Unavailable
        "resetting.example", "transport-unknown-error", 502, StatusCode.Unavailable
        "x.pod.test:9091", "bad-request", 400, StatusCode.InvalidArgument
        "x.pod.test:9090", "no-resolution-available", 503, StatusCode.Unavailable
    ]

[<Tests>]
let tests =
    testList
        "kedge's own answers"
        [
            for authority, kind, status, grpcStatus in rows do
                case $"HTTP, {kind}: {authority}" (fun () ->
                    task {
                        for protocol, client in httpClients () do
                            let! answer = get client $"https://{authority}/" []
                            Expect.equal answer.Status status protocol
                            Expect.equal (answer.Header "X-Kedge-Error-Type") kind protocol
                            let reason = answer.Header "X-Kedge-Error"
                            Expect.isNotEmpty reason protocol
                            Expect.stringContains answer.Body reason "the body gives the reason"
                            Expect.stringStarts (answer.Header "Content-Type") "text/plain" protocol
                            Expect.isNotEmpty (answer.Header "X-Kedge-Request-ID") protocol
                    })

                case $"gRPC, {kind}: {authority}" (fun () ->
                    task {
                        for name, port in grpcPorts () do
                            let authority =
                                if authority.Contains ':' then
                                    authority
                                else
                                    $"{authority}:443"

                            let client = Echo.EchoClient(Clients.grpc port None authority)

                            let! error =
                                failure<RpcException> name (fun () -> client.UnaryAsync(EchoRequest()).ResponseAsync)

                            Expect.equal error.StatusCode grpcStatus name
                            Expect.equal (error.Trailers.GetValue "x-kedge-error-type") kind name
                            Expect.isNotEmpty error.Status.Detail name

                            if kind = "no-route" then
                                Expect.equal error.Status.Detail "unknown route to service" name
                    })

            case "an ad-hoc port that is not allowed is named" (fun () ->
                task {
                    let! answer = get (http1 ()) "https://x.pod.test:9091/" []
                    Expect.stringContains answer.Body "port 9091 is not allowed" "reason"
                })

            case "an ad-hoc rule forwards to the name that was asked for" (fun () ->
                task {
                    use peer = new HttpPeer "adhoc"
                    let! answer = get (http1 ()) $"https://127.0.0.1:{peer.Port}/adhoc" []
                    Expect.equal (answer.Status, answer.Body) (200, "adhoc") "answer"
                    Expect.equal (answer.Header "X-Kedge-Backend-Name") "" "an ad-hoc target is no backend"
                    Expect.equal ((peer.One "/adhoc").Header "Host") $"127.0.0.1:{peer.Port}" "host"

                    for name, port in grpcPorts () do
                        use peer = new GrpcPeer "adhoc-grpc"
                        let client = Echo.EchoClient(Clients.grpc port None $"127.0.0.1:{peer.Port}")
                        let! reply = client.UnaryAsync(EchoRequest(Text = "x"))
                        Expect.equal (reply.Backend, reply.Authority) ("adhoc-grpc", $"127.0.0.1:{peer.Port}") name
                })

            case "without --adhoc_allow_loopback an ad-hoc target on loopback is refused" (fun () ->
                task {
                    use peer = new HttpPeer "door"

                    use! kedge =
                        Kedge.Start(
                            Json.directorWithAdhoc
                                []
                                []
                                [
                                    """{ "dns_name_matcher": "*", "port": { "allowed_ranges": [{ "from": 1, "to": 65535 }] } }"""
                                ],
                            "{}",
                            []
                        )

                    use client = Clients.http1 kedge.HttpsPort None

                    for host in [ "127.0.0.1"; "[::1]"; "0.0.0.0"; "169.254.1.1"; "localhost" ] do
                        let! answer = get client $"https://{host}:{peer.Port}/" []
                        Expect.equal (answer.Status, answer.Header "X-Kedge-Error-Type") (400, "bad-request") host

                    Expect.isEmpty peer.Received "nothing got through"
                })

            case "a backend that does not answer in time: transport-timeout" (fun () ->
                task {
                    use hanging = RawPeer.Hanging()

                    use! kedge =
                        serving "hanging" hanging.Port [ "--server_http_max_write_timeout=500ms" ]

                    use client = Clients.http1 kedge.HttpsPort None
                    let! answer = get client "https://hanging.example/" []

                    Expect.equal
                        (answer.Status, answer.Header "X-Kedge-Error-Type")
                        (504, "transport-timeout")
                        "answer"
                })

            case "a stream that moves is not cut by the inactivity limit" (fun () ->
                task {
                    use peer = new HttpPeer "slow"

                    peer.On(
                        "/drip",
                        fun context ->
                            task {
                                for _ in 1..8 do
                                    do! context.Response.Body.WriteAsync(Encoding.ASCII.GetBytes("x").AsMemory())
                                    do! context.Response.Body.FlushAsync()
                                    // The pace of the bytes: each well within the limit, all together beyond it.
                                    do! System.Threading.Tasks.Task.Delay 500
                            }
                    )

                    use! kedge =
                        serving
                            "slow"
                            peer.Port
                            [ "--server_http_max_write_timeout=3s"; "--server_http_max_read_timeout=3s" ]

                    use client = Clients.http1 kedge.HttpsPort None
                    let! answer = get client "https://slow.example/drip" []
                    Expect.equal (answer.Status, answer.Body) (200, "xxxxxxxx") "answer"
                })

            case "what is not gRPC gets 415 on the gRPC port" (fun () ->
                task {
                    use client = Clients.http2 kedge.Value.GrpcPort None
                    let! answer = get client "https://alpha.example/" []
                    Expect.equal answer.Status 415 "status"
                })

            case "gRPC over HTTP/1.1 gets 505" (fun () ->
                task {
                    let request =
                        new HttpRequestMessage(
                            HttpMethod.Post,
                            "https://echo.example/kedge.test.Echo/Unary",
                            Content = new ByteArrayContent [||]
                        )

                    (nonNull request.Content).Headers.ContentType <- MediaTypeHeaderValue "application/grpc"
                    let! answer = send (http1 ()) request
                    Expect.equal answer.Status 505 "status"
                })

            case "gRPC-Web goes the HTTP way" (fun () ->
                task {
                    let path = $"/{Guid.NewGuid():N}"

                    let request =
                        new HttpRequestMessage(
                            HttpMethod.Post,
                            $"https://alpha.example{path}",
                            Content = new ByteArrayContent [| 1uy |]
                        )

                    (nonNull request.Content).Headers.ContentType <- MediaTypeHeaderValue "application/grpc-web+proto"
                    let! answer = send (http2 ()) request
                    Expect.equal (answer.Status, answer.Body) (200, "alpha") "answer"
                    Expect.equal (alpha.Value.One path).BodyLength 1L "body"
                })
        ]
