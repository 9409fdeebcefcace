module Kedge.Tests.EndToEnd.BalancingTests

open System
open System.Net
open System.Net.Http
open System.Text
open System.Threading
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// Answers the first request of the first connection and breaks off at the second; later connections answer.
let private forgetful () =
    let connections = ref 0
    let heads = Collections.Concurrent.ConcurrentQueue<string>()
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    let peer =
        new RawPeer(fun stream ->
            task {
                let mine = Interlocked.Increment &connections.contents
                let mutable number = 0
                let mutable serving = true

                while serving do
                    let! head = RawPeer.ReadHead stream
                    number <- number + 1

                    if head = "" then
                        serving <- false
                    else
                        heads.Enqueue head

                        if mine = 1 && number = 2 then
                            serving <- false
                        else
                            do! RawPeer.Write(stream, ok)
            })

    peer, heads

let private single name port =
    Kedge.Start(Json.director [ Json.httpRoute name $"{name}.example" ] [], Json.pool [ Json.backend name port ] [], [])

[<Tests>]
let tests =
    testList
        "attempts"
        [
            case "an idempotent request whose reused connection closed is sent once more" (fun () ->
                task {
                    let peer, heads = forgetful ()
                    use peer = peer
                    use! kedge = single "forgetful" peer.Port
                    use client = Clients.http1 kedge.HttpsPort None
                    let! first = get client "https://forgetful.example/1" []
                    let! second = get client "https://forgetful.example/2" []
                    Expect.equal (first.Status, second.Status) (200, 200) "both answered"
                    Expect.equal heads.Count 3 "the second was sent twice"
                    Expect.equal peer.Accepted 2 "on a fresh connection"
                })

            case "a request with a body is not sent again" (fun () ->
                task {
                    let peer, heads = forgetful ()
                    use peer = peer
                    use! kedge = single "forgetful" peer.Port
                    use client = Clients.http1 kedge.HttpsPort None
                    let! first = get client "https://forgetful.example/1" []
                    let! second = post client "https://forgetful.example/2" ""
                    Expect.equal first.Status 200 "first"

                    Expect.equal
                        (second.Status, second.Header "X-Kedge-Error-Type")
                        (502, "transport-unknown-error")
                        "2nd"

                    Expect.equal heads.Count 2 "sent once"
                })

            case "a fresh connection that breaks off is not tried again" (fun () ->
                task {
                    use peer = RawPeer.Resetting()
                    use! kedge = single "resetting" peer.Port
                    use client = Clients.http1 kedge.HttpsPort None
                    let! answer = get client "https://resetting.example/" []

                    Expect.equal
                        (answer.Status, answer.Header "X-Kedge-Error-Type")
                        (502, "transport-unknown-error")
                        "502"

                    Expect.equal peer.Accepted 1 "connections"
                })

            case "a backend that comes up later is reached without a restart" (fun () ->
                task {
                    let port = Ports.free ()

                    use! kedge =
                        Kedge.Start(
                            Json.director [ Json.httpRoute "late" "late.example" ] [],
                            Json.pool [ Json.backend "late" port ] [],
                            [ "--lbtransport_failed_target_backoff_duration=100ms" ]
                        )

                    use client = Clients.http1 kedge.HttpsPort None
                    let! early = get client "https://late.example/" []
                    Expect.equal early.Status 502 "nothing there"

                    use _ =
                        new HttpPeer(
                            "late",
                            Microsoft.AspNetCore.Server.Kestrel.Core.HttpProtocols.Http1,
                            None,
                            IPEndPoint(IPAddress.Loopback, port)
                        )

                    do!
                        eventually "an answer of the backend" (fun () ->
                            (get client "https://late.example/" []).GetAwaiter().GetResult().Status = 200)
                })
        ]
