/// Calls that kedge must not keep forever.
module Kedge.Tests.Wire.NoStreamsTests

open System
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// MAX_CONCURRENT_STREAMS 0 (RFC 9113, 6.5.2).
let private noStreams = [| 0uy; 3uy; 0uy; 0uy; 0uy; 0uy |]

[<Tests>]
let tests =
    testList
        "endpoints without streams"
        [
            case "a request to an endpoint that allows no streams gets its answer after --backend_max_wait" (fun () ->
                task {
                    let handle _ _ : Task = Task.CompletedTask
                    use grpc = new Http2Peer(noStreams, None, handle)
                    let identity = Certificates.authority.Value.Server()
                    use http = new Http2Peer(noStreams, Some identity.Certificate, handle)

                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [ Json.httpRoute "none" "none.example" ]
                                [ Json.grpcRoute "none" "none.example" ],
                            Json.pool
                                [
                                    $$"""{ "name": "none", "security": { "insecure_skip_verify": true },
                                           "host": { "dns_name": "127.0.0.1", "port": {{http.Port}} } }"""
                                ]
                                [ Json.backend "none" grpc.Port ],
                            [ "--backend_max_wait=3s" ]
                        )

                    use channel = Clients.grpc kedge.GrpcPort None "none.example:443"

                    let! error =
                        failure<RpcException> "a call without a deadline" (fun () ->
                            Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x")).ResponseAsync)

                    Expect.equal error.StatusCode StatusCode.ResourceExhausted error.Status.Detail
                    Expect.stringContains error.Status.Detail "took the request in time" "the reason"
                    use client = Clients.http2 kedge.HttpsPort None
                    let! answer = get client "https://none.example/" []
                    Expect.equal (answer.Status, answer.Header "X-Kedge-Error-Type") (503, "too-many-requests") "HTTP"
                    Expect.equal (grpc.Connections, http.Connections) (1, 1) "no connection after another"
                })

            case "a request that waits is sent as soon as the endpoint allows a stream" (fun () ->
                task {
                    use peer =
                        new Http2Peer(
                            noStreams,
                            None,
                            fun connection frame ->
                                task {
                                    if frame.EndsStream then
                                        do!
                                            connection.Headers(
                                                frame.Stream,
                                                [
                                                    ":status", "200"
                                                    "content-type", "application/grpc"
                                                    "grpc-status", "5"
                                                ],
                                                true
                                            )
                                }
                        )

                    use! kedge =
                        Kedge.Start(
                            Json.director [] [ Json.grpcRoute "late" "late.example" ],
                            Json.pool [] [ Json.backend "late" peer.Port ],
                            []
                        )

                    use channel = Clients.grpc kedge.GrpcPort None "late.example:443"

                    let call =
                        Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x")).ResponseAsync

                    do! eventually "a connection" (fun () -> peer.Last.IsSome)

                    do!
                        Absence.during (TimeSpan.FromSeconds 1.5) "the end of the call" (fun () ->
                            Task.FromResult call.IsCompleted)

                    do! peer.Last.Value.Send(4uy, 0uy, 0, [| 0uy; 3uy; 0uy; 0uy; 0uy; 1uy |])
                    let! error = failure<RpcException> "the call" (fun () -> call)
                    Expect.equal error.StatusCode StatusCode.NotFound "the answer of the backend"
                })
        ]
