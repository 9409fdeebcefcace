/// When a backend or an endpoint gets no request.
module Kedge.Tests.EndToEnd.BackendLimitTests

open System
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.BackendStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http

[<Tests>]
let tests =
    testList
        "backend limits"
        [
            case "max_requests: one more gets 503, or RESOURCE_EXHAUSTED" (fun () ->
                task {
                    use peer = new HttpPeer "peer"
                    use echo = new GrpcPeer "echo"
                    let release = TaskCompletionSource()

                    peer.On(
                        "/hold",
                        fun context ->
                            task {
                                do! release.Task
                                do! context.Response.WriteAsync "held"
                            }
                    )

                    let limited port =
                        $$"""{ "name": "limited", "max_requests": 2, "host": { "dns_name": "127.0.0.1", "port": {{port}} } }"""

                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [ Json.httpRoute "limited" "limited.example" ]
                                [ Json.grpcRoute "limited" "limited.example" ],
                            Json.pool [ limited peer.Port ] [ limited echo.Port ],
                            []
                        )

                    use client = Clients.http2 kedge.HttpsPort None
                    let held = [ for _ in 1..2 -> get client "https://limited.example/hold" [] ]
                    do! eventually "both are there" (fun () -> (peer.ReceivedOn "/hold").Length = 2)
                    let! third = get client "https://limited.example/" []
                    Expect.equal (third.Status, third.Header "X-Kedge-Error-Type") (503, "too-many-requests") "third"
                    release.SetResult()

                    for one in held do
                        let! answer = one
                        Expect.equal answer.Body "held" "they finish"

                    let! after = get client "https://limited.example/" []
                    Expect.equal after.Status 200 "room again"
                    use channel = Clients.grpc kedge.GrpcPort None "limited.example:443"
                    let echoes = Echo.EchoClient channel
                    use first = echoes.Bidi()
                    use second = echoes.Bidi()
                    let! _ = first.ResponseHeadersAsync
                    let! _ = second.ResponseHeadersAsync

                    let! error =
                        failure<RpcException> "the third" (fun () ->
                            echoes.UnaryAsync(EchoRequest(Text = "x")).ResponseAsync)

                    Expect.equal error.StatusCode StatusCode.ResourceExhausted error.Status.Detail
                })

            case "an endpoint that refused is left out for lbtransport_failed_target_backoff_duration" (fun () ->
                task {
                    for backoff, returns in [ "60s", false; "200ms", true ] do
                        let port = Ports.free ()
                        use steady = peerAt "127.0.0.3" port
                        use! dns = dnsOf 60 [ "127.0.0.2"; "127.0.0.3" ]

                        use! kedge =
                            startHttp dns port "" [ $"--lbtransport_failed_target_backoff_duration={backoff}" ]

                        use client = Clients.http1 kedge.HttpsPort None
                        let! first = bodies client 4
                        Expect.equal (List.distinct first) [ steady.Name ] "the other refuses"
                        use late = peerAt "127.0.0.2" port

                        let isBack () =
                            task {
                                let! next = bodies client 2
                                return List.contains late.Name next
                            }

                        if returns then
                            do! soon patience $"it is back after {backoff}" isBack id
                        else
                            do! Absence.during (TimeSpan.FromSeconds 1.0) $"it is back before {backoff}" isBack
                })
        ]
