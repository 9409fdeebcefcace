module Kedge.Tests.EndToEnd.BackendHealthTests

open System
open System.Net
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.BackendStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core

let private addresses = [ "127.0.0.2"; "127.0.0.3"; "127.0.0.4" ]

/// Peers at `addresses` on one port, and DNS for them.
let private three () =
    task {
        let port, peers = onAddresses addresses
        let! dns = dnsOf 60 addresses
        return port, peers, dns
    }

/// Whether this many requests in a row, one after the other, are answered by exactly these peers.
let private answeredBy client (expected: string list) =
    task {
        let! answers = bodies client (3 * expected.Length)
        return List.sort (List.distinct answers) = expected
    }

let private becomes what client expected = soon patience what (fun () -> answeredBy client expected) id

let private httpCheck =
    """, "health_check": { "http_path": "/health?deep=1", "interval": "0.1s", "timeout": "3s", "healthy_threshold": 2, "unhealthy_threshold": 2 }"""

[<Tests>]
let healthChecks =
    testList
        "health checks"
        [
            case "HTTP: an endpoint that answers badly gets no requests until it is healthy again" (fun () ->
                task {
                    let! port, peers, dns = three ()
                    use _ = disposing peers
                    use dns = dns
                    let mutable status = 200
                    peers.Head.On("/health", (fun context -> answering (Volatile.Read &status) context))
                    use! kedge = startHttp dns port httpCheck []
                    use client = Clients.http1 kedge.HttpsPort None
                    do! becomes "all are well" client addresses
                    Volatile.Write(&status, 503)
                    do! becomes "the unhealthy one is left out" client addresses.Tail
                    let! still = answeredBy client addresses.Tail
                    Expect.isTrue still "and stays so"
                    Volatile.Write(&status, 301)
                    do! becomes "it is healthy again" client addresses
                    let probe = peers.Head.ReceivedOn "/health" |> Array.last

                    Expect.equal
                        (probe.Method, probe.RawTarget, probe.Header "Host")
                        ("GET", "/health?deep=1", "many.test")
                        "probe"

                    Expect.isTrue
                        (kedge.Program.Output.Contains "HTTP 503"
                         && kedge.Program.Output.Contains "healthy again")
                        "both are logged"
                })

            case "HTTP: when every endpoint is unhealthy, requests still find one" (fun () ->
                task {
                    let! port, peers, dns = three ()
                    use _ = disposing peers
                    use dns = dns

                    for peer in peers do
                        peer.On("/health", answering 500)

                    use! kedge = startHttp dns port httpCheck []
                    use client = Clients.http1 kedge.HttpsPort None

                    do!
                        eventually "all are unhealthy" (fun () ->
                            addresses
                            |> List.forall (fun address ->
                                kedge.Program.Output.Contains $"{address}:{port} of backend many is unhealthy"))

                    let! all = answeredBy client addresses
                    Expect.isTrue all "they are spread over all"
                })

            case "gRPC: grpc.health.v1 decides" (fun () ->
                task {
                    let port = Ports.free ()
                    let mutable serving = 1uy

                    let check (context: HttpContext) : Task =
                        task {
                            let question = Array.zeroCreate<byte> 64
                            let! length = context.Request.Body.ReadAtLeastAsync(question.AsMemory(), 64, false)
                            let asked = Text.Encoding.ASCII.GetString(question, 0, length)
                            context.Response.ContentType <- "application/grpc"

                            if asked.EndsWith("orders", StringComparison.Ordinal) then
                                do!
                                    context.Response.Body.WriteAsync(
                                        [| 0uy; 0uy; 0uy; 0uy; 2uy; 8uy; Volatile.Read &serving |].AsMemory()
                                    )

                            context.Response.AppendTrailer("grpc-status", "0")
                        }

                    let call (context: HttpContext) : Task =
                        task {
                            context.Response.ContentType <- "application/grpc"
                            context.Response.Headers["x-peer"] <- string context.Connection.LocalIpAddress
                            context.Response.Headers["grpc-status"] <- "0"
                        }

                    let peers =
                        [
                            for address in addresses ->
                                let peer =
                                    new HttpPeer(
                                        address,
                                        HttpProtocols.Http2,
                                        None,
                                        IPEndPoint(IPAddress.Parse address, port)
                                    )

                                peer.On("/s/Call", call)
                                peer.On("/grpc.health.v1.Health/Check", check)
                                peer
                        ]

                    use _ = disposing peers
                    let mutable ill = 2uy

                    peers.Head.On(
                        "/grpc.health.v1.Health/Check",
                        fun context ->
                            task {
                                context.Response.ContentType <- "application/grpc"

                                do!
                                    context.Response.Body.WriteAsync(
                                        [| 0uy; 0uy; 0uy; 0uy; 2uy; 8uy; Volatile.Read &ill |].AsMemory()
                                    )

                                context.Response.AppendTrailer("grpc-status", "0")
                            }
                    )

                    use! dns = dnsOf 60 addresses

                    let backend =
                        manyBackend
                            port
                            """, "health_check": { "grpc_service": "orders", "interval": "0.1s", "unhealthy_threshold": 1, "healthy_threshold": 1 }"""

                    use! kedge = startMany dns (manyBackend port "") backend []
                    use client = Clients.http2 kedge.GrpcPort None

                    let peersOf count =
                        task {
                            let seen = ResizeArray<string>()

                            for _ in 1..count do
                                let content = new Http.ByteArrayContent([||])
                                content.Headers.Add("Content-Type", "application/grpc")

                                use request =
                                    new Http.HttpRequestMessage(
                                        Http.HttpMethod.Post,
                                        "https://many.example/s/Call",
                                        Content = content
                                    )

                                let! answer = send client request
                                seen.Add(answer.Header "x-peer")

                            return seen |> Seq.distinct |> Seq.sort |> List.ofSeq
                        }

                    let untilPeers what expected =
                        eventually what (fun () -> (peersOf 9).GetAwaiter().GetResult() = expected)

                    do! untilPeers "the one that is NOT_SERVING is left out" addresses.Tail
                    Volatile.Write(&ill, 1uy)
                    do! untilPeers "it serves" addresses
                })
        ]

[<Tests>]
let outliers =
    testList
        "outlier ejection"
        [
            case "an endpoint that fails so many times in a row is left out for its time" (fun () ->
                task {
                    let! port, peers, dns = three ()
                    use _ = disposing peers
                    use dns = dns
                    peers.Head.On("/", answering 500)

                    use! kedge =
                        startHttp
                            dns
                            port
                            """, "outlier_detection": { "consecutive_failures": 3, "ejection_time": "4s" }"""
                            []

                    use client = Clients.http1 kedge.HttpsPort None
                    let! first = bodies client 9
                    let failures = first |> List.filter ((=) "") |> List.length
                    Expect.equal failures 3 "three of nine, then it is out"
                    let! next = bodies client 9
                    Expect.equal (List.sort (List.distinct next)) addresses.Tail "left out"
                    Expect.isTrue (kedge.Program.Output.Contains "is ejected") "logged"
                    peers.Head.On("/", fun context -> context.Response.WriteAsync "127.0.0.2")
                    do! becomes "back after its time" client addresses
                })

            case "gRPC: a status in the trailers counts" (fun () ->
                task {
                    let port = Ports.free ()
                    let two = [ "127.0.0.2"; "127.0.0.3" ]

                    use _ =
                        disposing
                            [
                                for address in two ->
                                    new GrpcPeer(address, None, IPEndPoint(IPAddress.Parse address, port))
                            ]

                    use! dns = dnsOf 60 two

                    let backend =
                        manyBackend
                            port
                            """, "outlier_detection": { "consecutive_failures": 2, "ejection_time": "60s" }"""

                    use! kedge = startMany dns (manyBackend port "") backend []
                    use channel = Clients.grpc kedge.GrpcPort None "many.example:443"
                    let echoes = Echo.EchoClient channel

                    let backendOf (failWith: uint32) =
                        task {
                            use call = echoes.ServerStream(EchoRequest(Replies = 1u, FailWith = failWith))
                            let! _ = call.ResponseStream.MoveNext CancellationToken.None
                            let backend = call.ResponseStream.Current.Backend

                            try
                                let! more = call.ResponseStream.MoveNext CancellationToken.None
                                Expect.isFalse more "one reply"
                            with :? RpcException as error ->
                                Expect.equal (uint32 error.StatusCode) failWith "the status that was asked for"

                            return backend
                        }

                    // In turn: every other call fails, and so all failures are one endpoint's.
                    let! failing = backendOf 14u
                    let! well = backendOf 0u
                    Expect.notEqual failing well "they take turns"
                    let! again = backendOf 14u
                    Expect.equal again failing "the second failure"

                    for _ in 1..6 do
                        let! backend = backendOf 0u
                        Expect.equal backend well "the other is left out"
                })

            case "no more than the given share is ejected" (fun () ->
                task {
                    let! port, peers, dns = three ()
                    use _ = disposing peers
                    use dns = dns

                    for peer in peers do
                        peer.On("/", answering 500)

                    use! kedge =
                        startHttp
                            dns
                            port
                            """, "outlier_detection": { "consecutive_failures": 1, "ejection_time": "60s", "max_ejection_percent": 40 }"""
                            []

                    use client = Clients.http1 kedge.HttpsPort None

                    for _ in 1..12 do
                        let! answer = get client "https://many.example/" []
                        Expect.equal answer.Status 500 "the backend's own answer"

                    let counts = peers |> List.map (fun peer -> peer.Received.Length) |> List.sort
                    Expect.equal counts.Head 1 "one is ejected at its first failure"
                    Expect.isTrue (counts[1] >= 5) $"the others are not: %A{counts}"
                })
        ]
