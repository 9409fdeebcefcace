/// Callers that ask for much and then read nothing: the backend waits, memory stays, others are served, and the exchange ends.
module Kedge.Tests.EndToEnd.SlowReadTests

open System
open System.Buffers.Binary
open System.Diagnostics
open System.IO
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// Of each answer.
let private size = 1_000_000_000L

/// A backend that answers each request with `size` bytes as fast as they are taken, and counts them.
type private Source() =
    let mutable written = 0L
    let mutable cut = 0

    let answer (stream: Stream) : Task =
        task {
            let! _ = RawPeer.ReadHead stream
            do! RawPeer.Write(stream, $"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
            let chunk = Array.zeroCreate<byte> 50_000

            try
                for _ in 1L .. size / 50_000L do
                    do! stream.WriteAsync(chunk.AsMemory())
                    Interlocked.Add(&written, 50_000L) |> ignore
            with :? IOException ->
                Interlocked.Increment &cut |> ignore
        }

    let peer = new RawPeer(fun stream -> answer stream)

    member _.Port = peer.Port
    /// Requests so far.
    member _.Asked = peer.Accepted
    /// Bytes that left it, for all requests.
    member _.Written = Interlocked.Read &written
    /// Answers that nobody took to the end.
    member _.Cut = Volatile.Read &cut

    interface IDisposable with
        member _.Dispose() = (peer :> IDisposable).Dispose()

let private limit = TimeSpan.FromSeconds 4.0

let private start (source: Source) =
    Kedge.Start(
        Json.director
            [
                Json.httpRoute "source" "source.example"
                Json.httpRoute "alpha" "alpha.example"
            ]
            [],
        Json.pool [ Json.backend "source" source.Port; Json.backend "alpha" alpha.Value.Port ] [],
        [ $"--server_http_max_write_timeout={int limit.TotalSeconds}s" ]
    )

let private isServed (client: HttpClient) what =
    task {
        let! answer = get client "https://alpha.example/well-behaved" []
        Expect.equal (answer.Status, answer.Body) (200, "alpha") what
    }

/// What holds while `count` answers are not read, until the limit ends them.
let private stallsAndEnds (kedge: Kedge) (source: Source) (before: int64) (count: int) (watch: Stopwatch) =
    task {
        use http1 = Clients.http1 kedge.HttpsPort None
        use http2 = Clients.http2 kedge.HttpsPort None
        do! eventually "all requests at the backend" (fun () -> source.Asked >= count)

        for i in 1..20 do
            do! isServed http1 $"request {i} over HTTP/1.1"
            do! isServed http2 $"request {i} over HTTP/2"

        let grown = kedge.Program.ResidentBytes - before
        do! eventually "the end of all exchanges" (fun () -> source.Cut = count)
        Expect.isGreaterThan watch.Elapsed (limit * 0.8) "not before the limit"
        // What the kernel buffers on the way, and no more.
        Expect.isLessThan (source.Written / int64 count) 50_000_000L "bytes that each answer could write"
        Expect.isLessThan grown 100_000_000L "bytes more than before"
        do! isServed http1 "afterwards"
    }

/// Bytes up to the end of the connection, which must come.
let private readToEnd (stream: Stream) : Task<int64> =
    task {
        let buffer = Array.zeroCreate<byte> 65536
        let mutable total = 0L
        let mutable reading = true

        while reading do
            try
                let! count = stream.ReadAsync(buffer.AsMemory())
                total <- total + int64 count
                reading <- count > 0
            with :? IOException ->
                reading <- false

        return total
    }

let private request =
    [
        ":method", "GET"
        ":scheme", "https"
        ":authority", "source.example"
        ":path", "/"
    ]

/// SETTINGS with INITIAL_WINDOW_SIZE.
let private window (client: Http2Frames) (size: int) : Task =
    let payload = Array.zeroCreate<byte> 6
    payload[1] <- 4uy
    BinaryPrimitives.WriteInt32BigEndian(Span(payload, 2, 4), size)
    client.Send(4uy, 0uy, 0, payload)

[<Tests>]
let tests =
    testSequenced
    <| testList
        "slow reads"
        [
            case "HTTP/1.1: answers that nobody reads wait, harm nobody, and end with their connection" (fun () ->
                task {
                    use source = new Source()
                    use! kedge = start source
                    let before = kedge.Program.ResidentBytes
                    let watch = Stopwatch.StartNew()
                    let count = 10

                    let! callers =
                        Task.WhenAll(
                            [
                                for _ in 1..count ->
                                    task {
                                        let! caller = RawClient.Connect kedge.HttpsPort
                                        do! caller.Write "GET / HTTP/1.1\r\nHost: source.example\r\n\r\n"
                                        return caller
                                    }
                            ]
                        )

                    do! stallsAndEnds kedge source before count watch

                    for caller in callers do
                        let! total = within "the end of the connection" (readToEnd caller.Stream)
                        Expect.isLessThan total size "the answer was cut"
                        (caller :> IDisposable).Dispose()
                })

            case "HTTP/2: streams whose windows never open wait, harm nobody, and are reset" (fun () ->
                task {
                    use source = new Source()
                    use! kedge = start source
                    let before = kedge.Program.ResidentBytes
                    let watch = Stopwatch.StartNew()
                    let streams = [ for i in 0..9 -> 2 * i + 1 ]
                    use! caller = Http2Frames.Connect kedge.HttpsPort
                    do! window caller 1

                    for id in streams do
                        do! caller.Headers(id, request, true)

                    do! stallsAndEnds kedge source before streams.Length watch

                    for id in streams do
                        let! events =
                            caller.ReadUntil(function
                                | Reset _ -> true
                                | GoAway _
                                | Closed -> true
                                | _ -> false)

                        Expect.exists
                            events
                            (function
                            | Reset _ -> true
                            | _ -> false)
                            $"stream {id} or another is reset"
                })

            case "HTTP/2: a connection whose bytes nobody takes harms nobody, and its exchanges end" (fun () ->
                task {
                    use source = new Source()
                    use! kedge = start source
                    let before = kedge.Program.ResidentBytes
                    let watch = Stopwatch.StartNew()
                    let streams = [ for i in 0..9 -> 2 * i + 1 ]
                    use! caller = Http2Frames.Connect kedge.HttpsPort
                    // As much as HTTP/2 can allow, on each stream and on the connection.
                    do! window caller Int32.MaxValue
                    let update = Array.zeroCreate<byte> 4
                    BinaryPrimitives.WriteInt32BigEndian(Span update, Int32.MaxValue - 65535)
                    do! caller.Send(8uy, 0uy, 0, update)

                    for id in streams do
                        do! caller.Headers(id, request, true)

                    do! stallsAndEnds kedge source before streams.Length watch
                })
        ]
