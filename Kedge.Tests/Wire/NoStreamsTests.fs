/// Calls that kedge must not keep forever.
module Kedge.Tests.Wire.NoStreamsTests

open System
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.Harness
open Kedge.Tests.Peers

[<Tests>]
let tests =
    testList
        "endpoints without streams"
        [
            case "an endpoint that allows no stream fails a call without a deadline, after a bounded wait" (fun () ->
                task {
                    use server =
                        new RawHttp2Server(
                            [ 3, 0u ],
                            fun peer ->
                                task {
                                    let! _ = peer.ReadToEnd()
                                    ()
                                }
                        )

                    use! kedge =
                        Kedge.Start(
                            Json.director [] [ Json.grpcRoute "none" "none.example" ],
                            Json.pool [] [ Json.backend "none" server.Port ],
                            []
                        )

                    use channel = Clients.grpc kedge.GrpcPort None "none.example:443"
                    let call = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x")).ResponseAsync

                    try
                        let! _ = call.WaitAsync(TimeSpan.FromSeconds 90.0)
                        failtest "the call went well"
                    with :? RpcException as error ->
                        Expect.equal error.StatusCode StatusCode.ResourceExhausted error.Status.Detail
                })
        ]
