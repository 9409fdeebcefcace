/// HTTP/1.1 endpoints that use what the protocol allows, and some that break its rules.
module Kedge.Tests.Wire.Http1BackendTests

open System
open System.IO
open System.Net.Http
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// What comes on a connection until it holds this text.
let private readUntil (stream: Stream) (text: string) : Task<string> =
    task {
        let seen = StringBuilder()
        let buffer = Array.zeroCreate<byte> 4096

        while not (seen.ToString().Contains(text, StringComparison.Ordinal)) do
            use limit = new CancellationTokenSource(patience)
            let! count = stream.ReadAsync(buffer.AsMemory(), limit.Token)

            if count = 0 then
                failwithf "it ended after %A" (seen.ToString())

            seen.Append(Encoding.Latin1.GetString(buffer, 0, count)) |> ignore

        return seen.ToString()
    }

let private ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

let private invalid =
    [
        "a length and a transfer coding",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        "two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
        "a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"
        "status 000", "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n"
        "not HTTP", "220 smtp ready\r\n"
        "a 101 that was not asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
        "a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"
        "a head without end", "HTTP/1.1 200 OK\r\nA: " + String('a', 100_000)
        "a chunk size that overflows", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"
        "the end of the connection", ""
    ]

let private invalidPeers =
    [
        for _, response in invalid -> Shared.make (fun () -> RawPeer.Answering response)
    ]

/// With a backend for each invalid response: `bad0.example`, `bad1.example`, …
let private broken =
    Shared.make (fun () ->
        (servingAll [ for i, peer in List.indexed invalidPeers -> $"bad{i}", peer.Value.Port ] [])
            .GetAwaiter()
            .GetResult())

[<Tests>]
let tests =
    testList
        "HTTP/1.1 backends"
        [
            case
                "a response that comes during the upload is forwarded at once, on a connection that stays open"
                (fun () ->
                    task {
                        use peer =
                            new RawPeer(fun stream ->
                                task {
                                    let! _ = RawPeer.ReadHead stream
                                    do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(1000).AsMemory())
                                    do! RawPeer.Write(stream, "HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nnope")
                                    // It takes the rest, and the next request.
                                    do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(1000).AsMemory())
                                    let! _ = RawPeer.ReadHead stream
                                    do! RawPeer.Write(stream, ok)
                                })

                        use! kedge = serving "early" peer.Port []
                        use! caller = RawClient.Connect kedge.HttpsPort
                        do! caller.Write "POST / HTTP/1.1\r\nHost: early.example\r\nContent-Length: 2000\r\n\r\n"
                        do! caller.Write(String('a', 1000))
                        // The caller sends the rest when it has the response.
                        let! response = readUntil caller.Stream "nope"
                        Expect.stringStarts response "HTTP/1.1 401 No\r\n" "the response"
                        do! caller.Write(String('b', 1000))

                        do!
                            soon
                                patience
                                "the connection is idle"
                                (fun () ->
                                    DebugPort.metric
                                        kedge
                                        "kedge_backend_connections"
                                        [ "protocol", "http"; "state", "idle" ])
                                ((=) 1.0)

                        do! caller.Write "GET / HTTP/1.1\r\nHost: early.example\r\n\r\n"
                        let! response = readUntil caller.Stream "ok"
                        Expect.stringStarts response "HTTP/1.1 200 OK\r\n" "the next response"
                        Expect.equal peer.Accepted 1 "connections"

                        let! errors =
                            DebugPort.metric kedge "kedge_proxy_errors_total" [ "backend_name", "early" ]

                        Expect.equal errors 0.0 "an early response is no error"
                    })

            for length in [ 10; 100_000 ] do
                case $"`Expect: 100-continue` is answered by the endpoint: {length} bytes refused" (fun () ->
                    task {
                        use peer = RawPeer.Answering "HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno"

                        use! kedge = serving "expect" peer.Port []
                        use! caller = RawClient.Connect kedge.HttpsPort

                        do!
                            caller.Write
                                $"POST / HTTP/1.1\r\nHost: expect.example\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"

                        let! response = readUntil caller.Stream "\r\n\r\nno"
                        Expect.stringStarts response "HTTP/1.1 417 No\r\n" "no 100 before it"
                    })

            case "`Expect: 100-continue` is answered by the endpoint: accepted" (fun () ->
                task {
                    use peer =
                        new RawPeer(fun stream ->
                            task {
                                let! head = RawPeer.ReadHead stream
                                Expect.stringContains head "Expect: 100-continue\r\n" "the endpoint is asked"
                                do! RawPeer.Write(stream, "HTTP/1.1 100 Continue\r\n\r\n")
                                do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(10).AsMemory())
                                do! RawPeer.Write(stream, ok)
                            })

                    use! kedge = serving "expect" peer.Port []
                    use! caller = RawClient.Connect kedge.HttpsPort

                    do!
                        caller.Write
                            "POST / HTTP/1.1\r\nHost: expect.example\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"

                    let! _ = readUntil caller.Stream "HTTP/1.1 100 Continue\r\n\r\n"
                    do! caller.Write "0123456789"
                    let! response = readUntil caller.Stream "\r\n\r\nok"
                    Expect.stringContains response "HTTP/1.1 200 OK\r\n" "the response"
                })

            case "a 103 is forwarded, without the fields of the hop" (fun () ->
                task {
                    use peer =
                        RawPeer.Answering(
                            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x\r\nX: y\r\nProxy-Foo: 1\r\n\r\n"
                            + ok
                        )

                    use! kedge = serving "hints" peer.Port []
                    use! caller = RawClient.Connect kedge.HttpsPort
                    do! caller.Write "GET / HTTP/1.1\r\nHost: hints.example\r\n\r\n"
                    let! response = readUntil caller.Stream "\r\n\r\nok"

                    Expect.stringStarts
                        response
                        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"
                        "both"
                })

            for framing, content in
                [
                    "Content-Length: 2", "ok"
                    "Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n"
                ] do
                case $"a head that fills the buffer exactly is forwarded before the content comes: {framing}" (fun () ->
                    task {
                        let head = $"HTTP/1.1 200 OK\r\n{framing}\r\nX-Fill: "
                        let fill = String('x', 4096 - head.Length - 4)
                        let hasSeen = TaskCompletionSource()

                        use peer =
                            new RawPeer(fun stream ->
                                task {
                                    let! _ = RawPeer.ReadHead stream
                                    do! RawPeer.Write(stream, $"{head}{fill}\r\n\r\n")
                                    do! hasSeen.Task
                                    do! RawPeer.Write(stream, content)
                                })

                        use! kedge = serving "full" peer.Port []
                        use! caller = RawClient.Connect kedge.HttpsPort
                        do! caller.Write "GET / HTTP/1.1\r\nHost: full.example\r\n\r\n"
                        let! response = readUntil caller.Stream "\r\n\r\n"
                        Expect.stringContains response fill "the head"
                        hasSeen.SetResult()
                        let! _ = readUntil caller.Stream "ok"
                        ()
                    })

            case "trailers reach an HTTP/1.1 caller that accepts them" (fun () ->
                task {
                    use peer =
                        RawPeer.Answering
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n"

                    use! kedge = serving "sum" peer.Port []
                    use! caller = RawClient.Connect kedge.HttpsPort

                    do! caller.Write "GET / HTTP/1.1\r\nHost: sum.example\r\nTE: trailers\r\nConnection: TE\r\n\r\n"

                    let! response = readUntil caller.Stream "\r\n0\r\n"

                    let! response =
                        task {
                            if response.EndsWith("7\r\n\r\n", StringComparison.Ordinal) then
                                return response
                            else
                                let! more = readUntil caller.Stream "7\r\n\r\n"
                                return response + more
                        }

                    Expect.stringContains response "Trailer: X-Sum\r\n" "announced"
                    Expect.stringEnds response "\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n" "the body and the trailers"
                    // The connection is in step.
                    do! caller.Write "GET /next HTTP/1.1\r\nHost: none.example\r\n\r\n"
                    let! next = readUntil caller.Stream "\r\n\r\n"
                    Expect.stringStarts next "HTTP/1.1 502 " "the next response"
                })

            case "trailers of a request reach the endpoint" (fun () ->
                task {
                    let received = TaskCompletionSource<string>()

                    use peer =
                        new RawPeer(fun stream ->
                            task {
                                let! _ = RawPeer.ReadHead stream
                                let! body = readUntil stream "\r\n\r\n"
                                received.TrySetResult body |> ignore
                                do! RawPeer.Write(stream, ok)
                            })

                    use! kedge = serving "sum" peer.Port []
                    use! caller = RawClient.Connect kedge.HttpsPort

                    do!
                        caller.Write
                            "POST / HTTP/1.1\r\nHost: sum.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: x\r\n\r\n"

                    let! _ = readUntil caller.Stream "\r\n\r\nok"
                    let! body = within "the body" received.Task
                    Expect.equal body "1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n" "the body and the trailers"
                })

            case "an empty query is forwarded as it is" (fun () ->
                task {
                    use alpha = new HttpPeer "alpha"
                    use! kedge = serving "alpha" alpha.Port []
                    use! caller = RawClient.Connect kedge.HttpsPort
                    do! caller.Write "GET /a? HTTP/1.1\r\nHost: alpha.example\r\nConnection: close\r\n\r\n"
                    let! response = caller.ReadToEnd()
                    Expect.stringStarts response "HTTP/1.1 200 " "the response"
                    Expect.equal (alpha.Received |> Seq.map _.RawTarget |> List.ofSeq) [ "/a?" ] "the target"
                })

            for index, (name, _) in List.indexed invalid do
                case $"an invalid response is answered with 502: {name}" (fun () ->
                    task {
                        let port = broken.Value.HttpsPort

                        for client in [ Clients.http1 port None; Clients.http2 port None ] do
                            use client = client
                            let! answer = get client $"https://bad{index}.example/" []

                            Expect.equal
                                (answer.Status, answer.Header "X-Kedge-Error-Type")
                                (502, "transport-unknown-error")
                                "the answer"
                    })

            case "a response header beyond the limit is answered with 502 that names the limit" (fun () ->
                task {
                    let long = String('a', 3000)

                    use peer =
                        RawPeer.Answering $"HTTP/1.1 200 OK\r\nA: {long}\r\nContent-Length: 0\r\n\r\n"

                    use! kedge = serving "long" peer.Port [ "--backend_max_header_bytes=2000" ]
                    use client = Clients.http2 kedge.HttpsPort None
                    let! answer = get client "https://long.example/" []
                    Expect.equal answer.Status 502 "status"
                    Expect.stringContains (answer.Header "X-Kedge-Error") "2000 bytes" "the limit"
                })

            case "bytes that follow a response are not the next response" (fun () ->
                task {
                    use peer =
                        RawPeer.Answering(ok + "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")

                    use! kedge = serving "split" peer.Port []
                    use client = Clients.http2 kedge.HttpsPort None

                    for _ in 1..5 do
                        let! answer = get client "https://split.example/" []
                        Expect.equal (answer.Status, answer.Body) (200, "ok") "the answer"
                })

            case "a GET whose reused connection was closed without a response is sent once more" (fun () ->
                task {
                    use peer =
                        new RawPeer(fun stream ->
                            task {
                                let! _ = RawPeer.ReadHead stream
                                do! RawPeer.Write(stream, ok)
                                // It reads the next request, and closes.
                                let! _ = RawPeer.ReadHead stream
                                ()
                            })

                    use! kedge = serving "closing" peer.Port []
                    use client = Clients.http2 kedge.HttpsPort None

                    for _ in 1..4 do
                        let! answer = get client "https://closing.example/" []
                        Expect.equal (answer.Status, answer.Body) (200, "ok") (answer.Header "X-Kedge-Error")
                })

            case "connections to an endpoint are bounded; requests beyond wait" (fun () ->
                task {
                    let gate = TaskCompletionSource()

                    use peer =
                        new RawPeer(fun stream ->
                            task {
                                while true do
                                    let! head = RawPeer.ReadHead stream

                                    if head = "" then
                                        stream.Socket.Close()

                                    do! gate.Task
                                    do! RawPeer.Write(stream, ok)
                            })

                    use! kedge = serving "few" peer.Port [ "--backend_max_connections_per_endpoint=3" ]
                    use client = Clients.http2 kedge.HttpsPort None
                    let answers = [ for _ in 1..10 -> get client "https://few.example/" [] ]
                    do! eventually "three connections" (fun () -> peer.Accepted = 3)
                    gate.SetResult()
                    let! answers = Task.WhenAll answers
                    Expect.allEqual (answers |> Array.map _.Status) 200 "statuses"
                    Expect.equal peer.Accepted 3 "connections"
                })
        ]
