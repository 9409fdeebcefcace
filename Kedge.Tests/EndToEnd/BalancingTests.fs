module Kedge.Tests.EndToEnd.BalancingTests

open System
open System.Net
open System.Net.Http
open System.Text
open System.Threading
open Expecto
open Kedge.Tests.EndToEnd.BackendStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Server.Kestrel.Core

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

[<Tests>]
let tests =
    testList
        "attempts"
        [
            case "an idempotent request whose reused connection closed is sent once more" (fun () ->
                task {
                    let peer, heads = forgetful ()
                    use peer = peer
                    use! kedge = serving "forgetful" peer.Port []
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
                    use! kedge = serving "forgetful" peer.Port []
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
                    use! kedge = serving "resetting" peer.Port []
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
                        serving "late" port [ "--lbtransport_failed_target_backoff_duration=100ms" ]

                    use client = Clients.http1 kedge.HttpsPort None
                    let! early = get client "https://late.example/" []
                    Expect.equal early.Status 502 "nothing there"

                    use _ =
                        new HttpPeer("late", HttpProtocols.Http1, None, IPEndPoint(IPAddress.Loopback, port))

                    do!
                        eventually "an answer of the backend" (fun () ->
                            (get client "https://late.example/" []).GetAwaiter().GetResult().Status = 200)
                })
        ]

[<Tests>]
let endpoints =
    testList
        "endpoints from DNS"
        [
            case "round robin is fair over every window" (fun () ->
                task {
                    let addresses = [ "127.0.0.2"; "127.0.0.3"; "127.0.0.4" ]
                    let port, peers = onAddresses addresses
                    use _ = disposing peers
                    use! dns = dnsOf 60 addresses
                    use! kedge = startMany dns (manyBackend port "") (manyBackend port "") []
                    use client = Clients.http2 kedge.HttpsPort None
                    let answers = ResizeArray<string>()

                    for _ in 1..31 do
                        let! answer = get client "https://many.example/" []
                        answers.Add answer.Body

                    for window in Seq.windowed 7 answers do
                        for address in addresses do
                            let count = window |> Seq.filter ((=) address) |> Seq.length
                            Expect.isTrue (count = 2 || count = 3) $"{address} in %A{window}"
                })

            case "an endpoint that refuses the connection: the request goes to the next" (fun () ->
                task {
                    let port, peers = onAddresses [ "127.0.0.3" ]
                    use _ = disposing peers

                    use echo =
                        new GrpcPeer("127.0.0.3", None, IPEndPoint(IPAddress.Parse "127.0.0.3", Ports.free ()))

                    use! dns = dnsOf 60 [ "127.0.0.2"; "127.0.0.3"; "127.0.0.4" ]
                    use! kedge = startMany dns (manyBackend port "") (manyBackend echo.Port "") []
                    use client = Clients.http1 kedge.HttpsPort None

                    for number in 1..6 do
                        let! answer = post client $"https://many.example/{number}" "body"
                        Expect.equal (answer.Status, answer.Body) (200, "127.0.0.3") "HTTP"
                        Expect.equal (peers.Head.One $"/{number}").BodyLength 4L "the body came along, once"

                    for _, port in [ "gRPC port", kedge.GrpcPort; "HTTPS port", kedge.HttpsPort ] do
                        use channel = Clients.grpc port None "many.example:443"

                        for _ in 1..6 do
                            let! reply = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"))
                            Expect.equal (reply.Text, reply.Backend) ("x", "127.0.0.3") "gRPC"
                })

            case "changed records are followed, and the last answer is kept while the DNS server is away" (fun () ->
                task {
                    let port, peers = onAddresses [ "127.0.0.2"; "127.0.0.3" ]
                    use _ = disposing peers
                    use! dns = dnsOf 1 [ "127.0.0.2" ]
                    use! kedge = startMany dns (manyBackend port "") (manyBackend port "") []
                    use client = Clients.http1 kedge.HttpsPort None
                    let! first = get client "https://many.example/" []
                    Expect.equal first.Body "127.0.0.2" "at first"
                    do! dns.Serve(addressesOf [ "127.0.0.3" ])

                    do!
                        eventually "the other address" (fun () ->
                            (get client "https://many.example/" []).GetAwaiter().GetResult().Body = "127.0.0.3")

                    dns.Stop()

                    // Three lifetimes of the record.
                    do!
                        Absence.during (TimeSpan.FromSeconds 3.0) "an answer from elsewhere, or none" (fun () ->
                            task {
                                let! answer = get client "https://many.example/" []
                                return (answer.Status, answer.Body) <> (200, "127.0.0.3")
                            })
                })
        ]
