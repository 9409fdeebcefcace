/// Attacks that live off a server's patience or memory: they end, and others are served meanwhile.
module Kedge.Tests.EndToEnd.LimitTests

open System
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private start (flags: string list) = serving "alpha" alpha.Value.Port flags

let private isServed (client: Http.HttpClient) what =
    task {
        let! answer = get client "https://alpha.example/well-behaved" []
        Expect.equal (answer.Status, answer.Body) (200, "alpha") what
    }

/// So many TLS connections on which nothing was sent yet, a few handshakes at a time.
let private connections (port: int) (count: int) : Task<RawClient array> =
    task {
        let opened = Array.zeroCreate<RawClient> count

        do!
            Parallel.ForEachAsync(
                seq { 0 .. count - 1 },
                ParallelOptions(MaxDegreeOfParallelism = 8),
                fun i _ ->
                    ValueTask(
                        task {
                            let! client = RawClient.Connect port
                            opened[i] <- client
                        }
                    )
            )

        return opened
    }

/// Sends the headers of a request byte after byte for as long as the server listens, and yields what it says in the end.
let private trickle (client: RawClient) : Task<string> =
    task {
        let answer = RawPeer.ReadToEnd client.Stream

        try
            do! client.Write "GET / HTTP/1.1\r\nHost: alpha.example\r\nX-Slow:"

            while not answer.IsCompleted do
                // The pace of the bytes.
                let! _ = Task.WhenAny(answer, Task.Delay 500)
                do! client.Write "x"
        with :? IO.IOException ->
            ()

        return! answer
    }

let private isFatal event =
    match event with
    | GoAway _
    | Closed -> true
    | _ -> false

let private request path =
    [
        ":method", "GET"
        ":scheme", "https"
        ":authority", "alpha.example"
        ":path", path
    ]

/// Writes until done or until the server has had enough.
let private flood (client: Http2Frames) (times: int) (write: int -> Task) =
    task {
        try
            for i in 0 .. times - 1 do
                do! write i
        with :? IO.IOException ->
            ()

        return! client.ReadUntil isFatal
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "limits"
        [
            case "1,000 connections that send their headers slowly leave a well-behaved caller unharmed" (fun () ->
                task {
                    use! kedge = start [ "--server_header_timeout=6s" ]
                    use client = Clients.http1 kedge.HttpsPort None
                    use fresh = Clients.http2 kedge.HttpsPort None
                    do! isServed client "before"
                    let! slow = connections kedge.HttpsPort 1000
                    let watch = Diagnostics.Stopwatch.StartNew()

                    let attack =
                        slow
                        |> Array.map (fun attacker ->
                            task {
                                let! answer = trickle attacker
                                return answer, watch.Elapsed
                            })

                    let isOver = Task.WhenAll attack
                    let mutable served = 0

                    while not isOver.IsCompleted do
                        do! isServed client $"request {served} on the old connection"
                        do! isServed fresh $"request {served} on a new one"

                        if attack |> Array.forall (fun one -> not one.IsCompleted) then
                            served <- served + 2

                        if watch.Elapsed > patience then
                            failtest "slow headers that do not end"

                    Expect.isGreaterThan served 20 "requests beside 1,000 attackers"
                    let! ends = isOver

                    for answer, _ in ends do
                        Expect.isTrue (answer = "" || answer.StartsWith "HTTP/1.1 408") $"408 or nothing: {answer}"

                    // A byte that is still on its way when the server closes takes the answer away from some.
                    let told = ends |> Array.filter (fun (answer, _) -> answer <> "")
                    Expect.isGreaterThan told.Length 100 "got their 408"
                    let first = ends |> Array.map snd |> Array.min
                    Expect.isGreaterThan first (TimeSpan.FromSeconds 5.0) "not before the limit"

                    for attacker in slow do
                        (attacker :> IDisposable).Dispose()

                    do! isServed client "afterwards"
                })

            case "TLS handshakes that are begun and not ended are closed in time" (fun () ->
                task {
                    use! kedge = start [ "--server_header_timeout=2s" ]
                    use client = Clients.http1 kedge.HttpsPort None

                    let! stalled =
                        Task.WhenAll(
                            [
                                for _ in 1..1000 ->
                                    task {
                                        let socket = new TcpClient()
                                        do! socket.ConnectAsync(IPAddress.Loopback, kedge.HttpsPort)
                                        do! socket.GetStream().WriteAsync([| 0x16uy; 3uy; 1uy |].AsMemory())
                                        return socket
                                    }
                            ]
                        )

                    for i in 1..20 do
                        do! isServed client $"request {i} meanwhile"

                    for socket in stalled do
                        let! _ = within "the end of a handshake" (RawPeer.ReadToEnd(socket.GetStream()))
                        socket.Dispose()
                })

            case "--server_header_timeout=0 is no limit" (fun () ->
                task {
                    use! kedge = start [ "--server_header_timeout=0" ]
                    use! slow = RawClient.Connect kedge.HttpsPort
                    do! slow.Write "GET / HTTP/1.1\r\nHost: alpha.example\r\n"
                    let answer = slow.ReadToEnd()
                    // Limits are looked at once a second.
                    do!
                        Absence.during (TimeSpan.FromSeconds 2.5) "an answer or the end" (fun () ->
                            Task.FromResult answer.IsCompleted)

                    do! slow.Write "Connection: close\r\n\r\n"
                    let! answer = answer
                    Expect.stringStarts answer "HTTP/1.1 200" "answer"
                })

            case "more connections than --server_max_connections are closed, and one that goes makes room" (fun () ->
                task {
                    use! kedge = start [ "--server_max_connections=3" ]
                    let! first = RawClient.Connect kedge.HttpsPort
                    use! second = RawClient.Connect kedge.HttpsPort
                    use! third = RawClient.Connect kedge.HttpsPort

                    let refused () =
                        try
                            let client = RawClient.Connect(kedge.HttpsPort).GetAwaiter().GetResult()
                            (client :> IDisposable).Dispose()
                            false
                        with
                        | :? IO.IOException
                        | :? SocketException
                        | :? Security.Authentication.AuthenticationException -> true

                    Expect.isTrue (refused ()) "the fourth"
                    do! third.Write "GET / HTTP/1.1\r\nHost: alpha.example\r\nConnection: close\r\n\r\n"
                    let! answer = third.ReadToEnd()
                    Expect.stringStarts answer "HTTP/1.1 200" "those that are in are served"
                    (first :> IDisposable).Dispose()
                    do! eventually "room for another" (fun () -> not (refused ()))
                    Expect.isTrue second.Stream.CanRead "the second is there all the time"
                })

            case "the flags for headers set their size and number" (fun () ->
                task {
                    use! kedge =
                        start [ "--server_max_header_bytes=8192"; "--server_max_header_count=20" ]

                    let answerTo headers =
                        task {
                            use! client = RawClient.Connect kedge.HttpsPort

                            do!
                                client.Write
                                    $"GET / HTTP/1.1\r\nHost: alpha.example\r\nConnection: close\r\n{headers}\r\n"

                            let! answer = client.ReadToEnd()
                            return answer.Substring(0, min answer.Length 12)
                        }

                    let! answer = answerTo ("X-A: " + String('x', 6000) + "\r\n")
                    Expect.equal answer "HTTP/1.1 200" "6,000 characters"
                    let! answer = answerTo ("X-A: " + String('x', 9000) + "\r\n")
                    Expect.equal answer "HTTP/1.1 431" "9,000 characters"
                    let! answer = answerTo (String.replicate 18 "X-A: b\r\n")
                    Expect.equal answer "HTTP/1.1 200" "20 headers"
                    let! answer = answerTo (String.replicate 19 "X-A: b\r\n")
                    Expect.equal answer "HTTP/1.1 431" "21 headers"
                })

            case "a stream beyond --server_http2_max_streams is refused, the others are served" (fun () ->
                task {
                    use! kedge = start [ "--server_http2_max_streams=2" ]
                    use! client = Http2Frames.Connect kedge.HttpsPort

                    // Requests whose bodies are still to come.
                    for id in [ 1; 3; 5 ] do
                        do!
                            client.Headers(
                                id,
                                [
                                    ":method", "POST"
                                    ":scheme", "https"
                                    ":authority", "alpha.example"
                                    ":path", "/s"
                                ],
                                false
                            )

                    let! events =
                        client.ReadUntil(function
                            | Reset _ -> true
                            | event -> isFatal event)

                    Expect.contains events (Reset(5, 7u)) "the third gets REFUSED_STREAM"
                    do! client.Data(1, "x")

                    let! events =
                        client.ReadUntil(function
                            | Ended 1 -> true
                            | event -> isFatal event)

                    Expect.contains events (Status(1, 200)) "the first is served"
                })

            case "HTTP/2: rapid resets leave other callers unharmed" (fun () ->
                task {
                    use! kedge = start []
                    use other = Clients.http2 kedge.HttpsPort None
                    do! isServed other "before"
                    use! resetting = Http2Frames.Connect kedge.HttpsPort

                    let attack =
                        task {
                            try
                                for i in 0..4999 do
                                    do! resetting.Headers(2 * i + 1, request "/reset", true)
                                    do! resetting.Reset(2 * i + 1)
                            with :? IO.IOException ->
                                ()
                        }

                    for i in 1..20 do
                        do! isServed other $"request {i} during rapid resets"

                    do! finishes "the attack" attack
                    do! isServed other "after rapid resets"
                    Expect.isFalse kedge.Program.HasExited "running"
                })

            case "HTTP/2: headers that never end, large or empty, end the connection" (fun () ->
                task {
                    use! kedge = start [ "--server_header_timeout=2s" ]
                    use other = Clients.http2 kedge.HttpsPort None
                    do! isServed other "before"

                    for filler in [ HeaderBlock.plain [ "x-filler", String('x', 8000) ]; [||] ] do
                        use! continuing = Http2Frames.Connect kedge.HttpsPort
                        do! continuing.Send(1uy, 0uy, 1, HeaderBlock.plain (request "/continued"))
                        let! events = flood continuing 1000 (fun _ -> continuing.Send(9uy, 0uy, 1, filler))

                        Expect.isTrue
                            (List.exists isFatal events)
                            $"the connection ends, but there was only %A{events}"

                        do! isServed other "afterwards"
                })

            case "HTTP/2: a flood of PING whose answers nobody reads is bounded in memory" (fun () ->
                task {
                    use! kedge = start []
                    use other = Clients.http2 kedge.HttpsPort None
                    do! isServed other "before"
                    let before = kedge.Program.ResidentBytes
                    use! pinging = Http2Frames.Connect kedge.HttpsPort
                    let ping = Array.zeroCreate<byte> 8

                    // Once the server stops reading, writing stops, too.
                    let mutable sent = 0L

                    let _ =
                        task {
                            try
                                for _ in 1..100_000 do
                                    do! pinging.Send(6uy, 0uy, 0, ping)
                                    Interlocked.Increment &sent |> ignore
                            with :? IO.IOException ->
                                ()
                        }

                    let! _ = standsStill (fun () -> Interlocked.Read &sent)
                    do! isServed other "meanwhile"
                    let grown = kedge.Program.ResidentBytes - before
                    Expect.isLessThan grown 100_000_000L "bytes more than before"
                })
        ]
