module Kedge.Tests.EndToEnd.StreamingTests

open System
open System.IO
open System.Net.Http
open System.Net.WebSockets
open System.Security.Cryptography
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Microsoft.AspNetCore.Http

let private signal () = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

let private unique () = $"/{Guid.NewGuid():N}"

/// Asks with the body still to come.
let private start (client: HttpClient) (request: HttpRequestMessage) =
    request.Version <- client.DefaultRequestVersion
    request.VersionPolicy <- client.DefaultVersionPolicy
    client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead)

[<Tests>]
let steps =
    testList
        "streaming"
        [
            case "a server-sent event arrives before the next is sent" (fun () ->
                task {
                    for protocol, client in httpClients () do
                        let path = unique ()
                        let next = signal ()

                        alpha.Value.On(
                            path,
                            fun context ->
                                task {
                                    context.Response.ContentType <- "text/event-stream"
                                    do! context.Response.WriteAsync "data: one\n\n"
                                    do! context.Response.Body.FlushAsync()
                                    do! next.Task
                                    do! context.Response.WriteAsync "data: two\n\n"
                                }
                        )

                        use! response =
                            start client (new HttpRequestMessage(HttpMethod.Get, $"https://alpha.example{path}"))

                        use! stream = response.Content.ReadAsStreamAsync()
                        use reader = new StreamReader(stream)
                        let! first = within $"{protocol}: the first event" (reader.ReadLineAsync())
                        Expect.equal first "data: one" protocol
                        next.SetResult()
                        let! rest = within $"{protocol}: the second event" (reader.ReadToEndAsync())
                        Expect.equal rest "\ndata: two\n\n" protocol
                })

            case "response headers arrive before the first byte of the body" (fun () ->
                task {
                    for protocol, client in httpClients () do
                        let path = unique ()
                        let body = signal ()

                        alpha.Value.On(
                            path,
                            fun context ->
                                task {
                                    context.Response.Headers["X-Early"] <- "yes"
                                    do! context.Response.StartAsync()
                                    do! context.Response.Body.FlushAsync()
                                    do! body.Task
                                    do! context.Response.WriteAsync "late"
                                }
                        )

                        use! response =
                            start client (new HttpRequestMessage(HttpMethod.Get, $"https://alpha.example{path}"))
                            |> within $"{protocol}: the headers"

                        Expect.equal (Clients.header "X-Early" response) "yes" protocol
                        body.SetResult()
                        let! text = within "the body" (response.Content.ReadAsStringAsync())
                        Expect.equal text "late" protocol
                })

            case "a chunk of an upload arrives before the next is sent" (fun () ->
                task {
                    for protocol, client in httpClients () do
                        let path = unique ()
                        let arrivals = Channels.Channel.CreateUnbounded<string>()

                        alpha.Value.On(
                            path,
                            fun context ->
                                task {
                                    let buffer = Array.zeroCreate<byte> 1024
                                    let mutable reading = true

                                    while reading do
                                        let! count = context.Request.Body.ReadAsync(buffer.AsMemory())

                                        if count = 0 then
                                            reading <- false
                                        else
                                            do! arrivals.Writer.WriteAsync(Encoding.ASCII.GetString(buffer, 0, count))

                                    do! context.Response.WriteAsync "done"
                                }
                        )

                        let content =
                            new PushContent(fun stream ->
                                task {
                                    for chunk in [ "one"; "two"; "three" ] do
                                        do! stream.WriteAsync(Encoding.ASCII.GetBytes(chunk).AsMemory())
                                        do! stream.FlushAsync()

                                        let! arrived =
                                            within $"{protocol}: chunk {chunk}" (arrivals.Reader.ReadAsync().AsTask())

                                        Expect.equal arrived chunk protocol
                                })

                        let! answer =
                            send
                                client
                                (new HttpRequestMessage(
                                    HttpMethod.Post,
                                    $"https://alpha.example{path}",
                                    Content = content
                                ))

                        Expect.equal answer.Body "done" protocol
                })

            case "a WebSocket carries messages both ways and closes" (fun () ->
                task {
                    let path = unique ()
                    alpha.Value.OnWebSocketEcho path
                    use invoker = new HttpMessageInvoker(Clients.handler kedge.Value.HttpsPort None)
                    use socket = new ClientWebSocket()
                    use limit = new CancellationTokenSource(patience)
                    do! socket.ConnectAsync(Uri $"wss://alpha.example{path}", invoker, limit.Token)
                    let buffer = Array.zeroCreate<byte> 70_000

                    for size in [ 1; 100; 60_000 ] do
                        let message = RandomNumberGenerator.GetBytes size

                        do! socket.SendAsync(ArraySegment message, WebSocketMessageType.Binary, true, limit.Token)

                        let mutable filled = 0
                        let mutable finished = false

                        while not finished do
                            let! got =
                                socket.ReceiveAsync(ArraySegment(buffer, filled, buffer.Length - filled), limit.Token)

                            filled <- filled + got.Count
                            finished <- got.EndOfMessage

                        Expect.equal (Array.take filled buffer) message $"{size} bytes"

                    do! socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "enough", limit.Token)
                    Expect.equal socket.CloseStatusDescription "bye" "the backend's words"
                })

            case "a client that goes away cancels the backend's work" (fun () ->
                task {
                    for protocol, client in httpClients () do
                        let path = unique ()
                        let entered = signal ()
                        let aborted = signal ()

                        alpha.Value.On(
                            path,
                            fun context ->
                                task {
                                    context.RequestAborted.Register(fun () -> aborted.TrySetResult() |> ignore)
                                    |> ignore

                                    entered.SetResult()
                                    do! aborted.Task
                                }
                        )

                        use leave = new CancellationTokenSource()

                        let asked = client.GetAsync($"https://alpha.example{path}", leave.Token)

                        do! finishes $"{protocol}: the request" entered.Task
                        leave.Cancel()
                        do! finishes $"{protocol}: the abort" aborted.Task

                        let! _ =
                            failure<OperationCanceledException> "the client's own view" (fun () -> asked)

                        ()
                })
        ]

/// Large bodies against a side that does not read: how much goes in before the writer must wait, and how much memory
/// that costs. These have a kedge of their own, so that its memory is theirs.
module private Large =
    let size = 200L * 1024L * 1024L
    let block = RandomNumberGenerator.GetBytes(1024 * 1024)

    /// SHA-256 of the whole body.
    let hash =
        lazy
            (use hash = IncrementalHash.CreateHash HashAlgorithmName.SHA256

             for _ in 1L .. size / int64 block.Length do
                 hash.AppendData block

             Convert.ToHexStringLower(hash.GetHashAndReset()))

    let hashOf (stream: Stream) =
        task {
            use hash = IncrementalHash.CreateHash HashAlgorithmName.SHA256
            let buffer = Array.zeroCreate<byte> 262144
            let mutable reading = true

            while reading do
                let! count = stream.ReadAsync(buffer.AsMemory())

                if count = 0 then
                    reading <- false
                else
                    hash.AppendData(buffer.AsSpan(0, count))

            return Convert.ToHexStringLower(hash.GetHashAndReset())
        }

    /// The highest resident set of a process while the work runs.
    let peak (program: KedgeProgram) (work: Task<'a>) =
        task {
            let mutable highest = program.ResidentBytes

            while not work.IsCompleted do
                highest <- max highest program.ResidentBytes
                do! Task.Delay 20

            let! result = work
            return result, highest
        }

[<Tests>]
let largeBodies =
    let megabytes (bytes: int64) = bytes / 1024L / 1024L

    testList
        "large bodies"
        [
            for protocol in [ "HTTP/1.1"; "HTTP/2" ] do
                case $"{protocol}: 200 MB pass in both directions, with back-pressure and bounded memory" (fun () ->
                    task {
                        use peer = new HttpPeer "large"

                        use! kedge = serving "large" peer.Port []

                        use client =
                            if protocol = "HTTP/2" then
                                Clients.http2 kedge.HttpsPort None
                            else
                                Clients.http1 kedge.HttpsPort None

                        client.Timeout <- TimeSpan.FromMinutes 2.0
                        let blocks = int (Large.size / int64 Large.block.Length)

                        // One small exchange, so that the memory compared with is that of a working server.
                        let! _ = get client "https://large.example/warm" []
                        let before = kedge.Program.ResidentBytes

                        // Up: the backend does not read until the writer has come to a stand.
                        let mayRead = signal ()
                        let mutable written = 0L

                        peer.On(
                            "/up",
                            fun context ->
                                task {
                                    do! mayRead.Task
                                    let! hash = Large.hashOf context.Request.Body
                                    do! context.Response.WriteAsync hash
                                }
                        )

                        let content =
                            new PushContent(fun stream ->
                                task {
                                    for _ in 1..blocks do
                                        do! stream.WriteAsync(Large.block.AsMemory())
                                        Interlocked.Add(&written, Large.block.LongLength) |> ignore
                                })

                        let upload =
                            send
                                client
                                (new HttpRequestMessage(HttpMethod.Post, "https://large.example/up", Content = content))

                        let! buffered = standsStill (fun () -> Interlocked.Read &written)
                        Expect.isLessThan (megabytes buffered) 50L "upload taken in without a reader, MB"
                        mayRead.SetResult()
                        let! answer, peakUp = Large.peak kedge.Program upload
                        Expect.equal answer.Body Large.hash.Value "what the backend got"

                        // Down: the client does not read until the backend has come to a stand.
                        let mutable sent = 0L

                        peer.On(
                            "/down",
                            fun context ->
                                task {
                                    for _ in 1..blocks do
                                        do! context.Response.Body.WriteAsync(Large.block.AsMemory())
                                        Interlocked.Add(&sent, Large.block.LongLength) |> ignore
                                }
                        )

                        use! response =
                            start client (new HttpRequestMessage(HttpMethod.Get, "https://large.example/down"))

                        let! buffered = standsStill (fun () -> Interlocked.Read &sent)
                        Expect.isLessThan (megabytes buffered) 50L "download taken in without a reader, MB"
                        use! stream = response.Content.ReadAsStreamAsync()
                        let! hash, peakDown = Large.peak kedge.Program (Large.hashOf stream)
                        Expect.equal hash Large.hash.Value "what the client got"

                        Expect.isLessThan
                            (megabytes (max peakUp peakDown - before))
                            100L
                            "growth of kedge's resident set, MB"
                    })
        ]
    |> testSequencedGroup "memory"
