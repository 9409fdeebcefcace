/// What all callers together can make kedge hold: beyond --server_max_buffered_mib, the connections that hold most are
/// closed, and others are served.
module Kedge.Tests.EndToEnd.MemoryBudgetTests

open System
open System.IO
open System.Net.Http
open System.Threading.Tasks
open Expecto
open Google.Protobuf
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// In MiB.
let private budget = 8

/// Answers each request with so many bytes.
let private source (size: int) =
    new RawPeer(fun stream ->
        task {
            let mutable reading = true

            while reading do
                let! head = RawPeer.ReadHead stream

                if head = "" then
                    reading <- false
                else
                    try
                        do! RawPeer.Write(stream, $"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
                        do! stream.WriteAsync((Array.zeroCreate<byte> size).AsMemory())
                    with :? IOException ->
                        reading <- false
        })

let private start (peer: int) (grpc: int) =
    Kedge.Start(
        Json.director
            [ Json.httpRoute "peer" "peer.example"; Json.httpRoute "alpha" "alpha.example" ]
            [ Json.grpcRoute "echo" "echo.example" ],
        Json.pool [ Json.backend "peer" peer; Json.backend "alpha" alpha.Value.Port ] [ Json.backend "echo" grpc ],
        [
            $"--server_max_buffered_mib={budget}"
            "--server_http_max_write_timeout=60s"
            "--server_http_max_read_timeout=60s"
        ]
    )

let private held (kedge: Kedge) = DebugPort.metric kedge "kedge_held_bytes" []
let private closed (kedge: Kedge) = DebugPort.metric kedge "kedge_connections_closed_for_memory_total" []
let private now (value: Task<float>) = value.GetAwaiter().GetResult()

/// What holds while connections that an attack has opened hold more than the budget allows.
let private isBounded (kedge: Kedge) (before: int64) (attack: unit -> Task<Http2Frames>) =
    task {
        let opened = ResizeArray<Http2Frames>()

        try
            // Each of them holds more than a sixteenth of the budget.
            for _ in 1..24 do
                try
                    let! client = attack ()
                    opened.Add client
                with :? IOException ->
                    // Closed while it was writing.
                    ()

                use other = Clients.http2 kedge.HttpsPort None
                let! answer = get other "https://alpha.example/" []
                Expect.equal (answer.Status, answer.Body) (200, "alpha") "another caller"

            do! eventually "connections that are closed" (fun () -> now (closed kedge) > 0.0)

            do!
                eventually "no more than the budget is held" (fun () ->
                    now (held kedge) <= float (budget * 1024 * 1024))

            // The heap of the process, and what is not collected yet.
            Expect.isLessThan (kedge.Program.ResidentBytes - before) 100_000_000L "bytes more than before"
        finally
            for client in opened do
                (client :> IDisposable).Dispose()

        do! eventually "everything is given back" (fun () -> now (held kedge) < 65536.0)
    }

let private request (authority: string) (verb: string) =
    [ ":method", verb; ":scheme", "https"; ":authority", authority; ":path", "/" ]

[<Tests>]
let tests =
    testSequenced
    <| testList
        "memory budget"
        [
            case "small responses that nobody reads, of requests that are complete" (fun () ->
                task {
                    use peer = source 60_000
                    use! kedge = start peer.Port echo.Value.Port
                    let before = kedge.Program.ResidentBytes

                    do!
                        isBounded kedge before (fun () ->
                            task {
                                let! client = Http2Frames.Connect kedge.HttpsPort
                                do! CallerMemoryTests.closeWindow client

                                for i in 0..19 do
                                    do! client.Headers(2 * i + 1, request "peer.example" "GET", true)

                                return client
                            })
                })

            case "gRPC streams that nobody reads" (fun () ->
                task {
                    use peer = source 1
                    use! kedge = start peer.Port echo.Value.Port
                    let before = kedge.Program.ResidentBytes
                    let payload = ByteString.CopyFrom(Array.zeroCreate<byte> 10_000)

                    do!
                        isBounded kedge before (fun () ->
                            task {
                                let! client = Http2Frames.Connect kedge.GrpcPort
                                do! CallerMemoryTests.closeWindow client

                                for i in 0..9 do
                                    do!
                                        CallerMemoryTests.call
                                            client
                                            (2 * i + 1)
                                            (EchoRequest(Replies = 100u, Payload = payload))

                                return client
                            })
                })

            case "uploads that do not end" (fun () ->
                task {
                    use hanging = RawPeer.Hanging()
                    use! kedge = start hanging.Port echo.Value.Port
                    let before = kedge.Program.ResidentBytes
                    let piece = Array.zeroCreate<byte> 16_000

                    do!
                        isBounded kedge before (fun () ->
                            task {
                                let! client = Http2Frames.Connect kedge.HttpsPort

                                // What counts is that each is in flight: the backend reads the pieces.
                                for i in 0..39 do
                                    let id = 2 * i + 1
                                    do! client.Headers(id, request "peer.example" "POST", false)
                                    do! client.Send(0uy, 0uy, id, piece)

                                return client
                            })
                })

            case "callers that read are not closed, and what is held for them is given back" (fun () ->
                task {
                    use peer = source 5_000_000
                    use! kedge = start peer.Port echo.Value.Port
                    use http1 = Clients.http1 kedge.HttpsPort None
                    use http2 = Clients.http2 kedge.HttpsPort None

                    for client in [ http1; http2 ] do
                        let! sizes =
                            Task.WhenAll
                                [
                                    for _ in 1..8 ->
                                        task {
                                            let! body = client.GetByteArrayAsync "https://peer.example/"
                                            return body.Length
                                        }
                                ]

                        Expect.allEqual sizes 5_000_000 "each body"

                        for _ in 1..50 do
                            use content = new ByteArrayContent(Array.zeroCreate<byte> 100_000)
                            let! answer = client.PostAsync("https://alpha.example/", content)
                            Expect.equal (int answer.StatusCode) 200 "an upload"

                    // Their connections are open.
                    do! eventually "nothing is held" (fun () -> now (held kedge) < 200_000.0)
                    let! closed = closed kedge
                    Expect.equal closed 0.0 "none was closed"
                })
        ]
