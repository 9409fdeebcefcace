/// Callers that fail within their own request: the answer names them, and no endpoint is blamed.
module Kedge.Tests.EndToEnd.CallerFaultTests

open System
open System.Net.Sockets
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.BackendStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Microsoft.AspNetCore.Http

let private chunked (body: string) =
    $"POST /broken HTTP/1.1\r\nHost: many.example\r\nTransfer-Encoding: chunked\r\n\r\n{body}"

/// Requests whose bodies cannot be read to their end.
let private broken =
    [
        "a chunk size that overflows", chunked "fffffffff\r\nabc\r\n0\r\n\r\n"
        "a chunk size that overflows later", chunked "3\r\nabc\r\nfffffffff\r\nabc\r\n0\r\n\r\n"
        "a chunk size that is none", chunked "xyz\r\nabc\r\n0\r\n\r\n"
        "a chunk that is too long", chunked "3\r\nabcdef\r\n0\r\n\r\n"
        "a chunk extension without a name", chunked "3;\r\nabc\r\n0\r\n\r\n"
        "a trailer whose name is no token", chunked "3\r\nabc\r\n0\r\nX(A): b\r\n\r\n"
        "trailers that are too long", chunked ("3\r\nabc\r\n0\r\nX-A: " + String('x', 140_000) + "\r\n\r\n")
    ]

/// The answer to bytes that end a connection.
let private answerTo (port: int) (request: string) =
    task {
        use! client = RawClient.Connect port
        do! client.Write request
        return! client.ReadToEnd()
    }

let private isReady (kedge: Kedge) (address: string) (port: int) =
    task {
        let! ready =
            DebugPort.metric
                kedge
                "kedge_backend_endpoint_ready"
                [ "protocol", "http"; "endpoint", $"{address}:{port}" ]

        return ready = 1.0
    }

[<Tests>]
let bodies =
    testList
        "callers' faults"
        [
            case "a body that is malformed gets 400, the connection ends, and no endpoint is ejected" (fun () ->
                task {
                    let addresses = [ "127.0.0.2"; "127.0.0.3" ]
                    let port, peers = onAddresses addresses
                    use _ = disposing peers
                    let! dns = dnsOf 60 addresses
                    use dns = dns

                    use! kedge =
                        startHttp
                            dns
                            port
                            """, "outlier_detection": { "consecutive_failures": 1, "ejection_time": "60s", "max_ejection_percent": 100 }"""
                            []

                    for name, request in broken do
                        for _ in addresses do
                            let! answer = answerTo kedge.HttpsPort request
                            Expect.stringStarts answer "HTTP/1.1 400 " name
                            Expect.stringContains answer "X-Kedge-Error-Type: bad-request\r\n" name
                            Expect.stringContains answer "Connection: close\r\n" name

                    for address in addresses do
                        let! ready = isReady kedge address port
                        Expect.isTrue ready address

                    let! failures =
                        DebugPort.metric
                            kedge
                            "kedge_proxy_errors_total"
                            [ "backend_name", "many"; "type", "transport-unknown-error" ]

                    Expect.equal failures 0.0 "failures of the backend"
                    use client = Clients.http1 kedge.HttpsPort None
                    let! answers = bodies client 4
                    Expect.equal (List.sort (List.distinct answers)) addresses "both endpoints are used"
                })

            for name, request in
                [
                    "a length that is not reached",
                    "POST /stalled HTTP/1.1\r\nHost: alpha.example\r\nContent-Length: 10\r\n\r\nabc"
                    "a chunk that does not end",
                    "POST /stalled HTTP/1.1\r\nHost: alpha.example\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"
                ] do
                case $"a caller that stops within its body gets 408: {name}" (fun () ->
                    task {
                        use! kedge = serving "alpha" alpha.Value.Port [ "--server_http_max_read_timeout=1s" ]
                        let! answer = answerTo kedge.HttpsPort request
                        Expect.stringStarts answer "HTTP/1.1 408 " "status"
                        Expect.stringContains answer "X-Kedge-Error-Type: request-timeout\r\n" "type"
                        Expect.isFalse (answer.Contains "X-Kedge-Backend-Name") "no backend is named"

                        let! timeouts =
                            DebugPort.metric kedge "kedge_proxy_errors_total" [ "type", "transport-timeout" ]

                        Expect.equal timeouts 0.0 "timeouts of a backend"
                    })

            case "a backend that does not answer after the whole body is still the backend's 504" (fun () ->
                task {
                    use hanging = RawPeer.Hanging()
                    use! kedge = serving "hanging" hanging.Port [ "--server_http_max_write_timeout=1s" ]
                    use client = Clients.http1 kedge.HttpsPort None
                    let! answer = post client "https://hanging.example/" "abc"

                    Expect.equal
                        (answer.Status, answer.Header "X-Kedge-Error-Type")
                        (504, "transport-timeout")
                        "answer"
                })
        ]

[<Tests>]
let connections =
    testList
        "callers' connections"
        [
            case "a caller that closes its own side after the request gets the answer" (fun () ->
                task {
                    use peer = new HttpPeer "slow"
                    let ended = TaskCompletionSource()

                    peer.On(
                        "/slow",
                        fun context ->
                            task {
                                // The caller's end comes first.
                                do! ended.Task
                                do! context.Response.WriteAsync "slow"
                            }
                    )

                    use! kedge = serving "slow" peer.Port []
                    use! client = RawClient.Connect(kedge.HttpsPort)
                    do! client.Write "GET /slow HTTP/1.1\r\nHost: slow.example\r\n\r\n"
                    client.Socket.Shutdown SocketShutdown.Send
                    do! eventually "the request at the backend" (fun () -> peer.Received.Length = 1)
                    ended.SetResult()
                    let! answer = client.ReadToEnd()
                    Expect.stringStarts answer "HTTP/1.1 200 " "answer"
                    Expect.stringContains answer "slow" "body"
                })

            case "a caller that leaves still ends the request at the backend" (fun () ->
                task {
                    use peer = new HttpPeer "slow"
                    let left = TaskCompletionSource()

                    peer.On(
                        "/slow",
                        fun context ->
                            context.RequestAborted.Register(fun () -> left.TrySetResult() |> ignore)
                            |> ignore

                            left.Task
                    )

                    use! kedge = serving "slow" peer.Port []
                    let! client = RawClient.Connect(kedge.HttpsPort)
                    do! client.Write "GET /slow HTTP/1.1\r\nHost: slow.example\r\n\r\n"
                    do! eventually "the request at the backend" (fun () -> peer.Received.Length = 1)
                    (client :> IDisposable).Dispose()
                    do! finishes "the end of the request at the backend" left.Task
                })

            for name, body, isWhole in
                [
                    "that is whole", "5\r\nhello\r\n0\r\n\r\n", true
                    "that the backend cuts", "5\r\nhello\r\n", false
                ] do
                case
                    $"an HTTP/1.0 caller over TLS can see whether the end of the connection ends a response {name}"
                    (fun () ->
                        task {
                            use peer =
                                RawPeer.Answering $"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"

                            use! kedge = serving "old" peer.Port []

                            let! run =
                                Shell.run (
                                    @"printf 'GET / HTTP/1.0\r\nHost: old.example\r\n\r\n'"
                                    + $" | openssl s_client -connect 127.0.0.1:{kedge.HttpsPort} -quiet -ign_eof"
                                )

                            Expect.stringEnds run.Output "hello" "what came of the body"
                            Expect.equal (run.Code = 0) isWhole run.Errors
                        })

            for protocol in [ "SPDY/3.1"; "foo"; "" ] do
                case
                    $"a backend that switches to a protocol that is not WebSocket gets no tunnel: '{protocol}'"
                    (fun () ->
                        task {
                            use peer =
                                RawPeer.Answering
                                    $"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\nraw"

                            use! kedge = serving "switching" peer.Port []

                            let upgrade =
                                if protocol = "" then
                                    ""
                                else
                                    $"Connection: Upgrade\r\nUpgrade: {protocol}\r\n"

                            let! answer =
                                answerTo
                                    kedge.HttpsPort
                                    $"GET / HTTP/1.1\r\nHost: switching.example\r\n{upgrade}\r\nGET /2 HTTP/1.1\r\nHost: none.example\r\nConnection: close\r\n\r\n"

                            Expect.stringStarts answer "HTTP/1.1 502 " "answer"
                        })

            case "HTTP/2 with :scheme http is the forward-proxy form: port 80, mode FORWARD_PROXY" (fun () ->
                task {
                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [
                                    """{ "backend_name": "alpha", "host_matcher": "modes.example", "proxy_mode": "FORWARD_PROXY", "port_matcher": 80 }"""
                                    """{ "backend_name": "beta", "host_matcher": "modes.example" }"""
                                ]
                                [],
                            Json.pool [ Json.backend "alpha" alpha.Value.Port; Json.backend "beta" beta.Value.Port ] [],
                            []
                        )

                    use! client = Http2Frames.Connect kedge.HttpsPort

                    let ask id scheme authority path =
                        task {
                            do!
                                client.Headers(
                                    id,
                                    [ ":method", "GET"; ":scheme", scheme; ":authority", authority; ":path", path ],
                                    true
                                )

                            let! events =
                                client.ReadUntil(function
                                    | Ended stream -> stream = id
                                    | Reset _
                                    | GoAway _
                                    | Closed -> true
                                    | _ -> false)

                            Expect.contains events (Status(id, 200)) path
                        }

                    do! ask 1 "http" "modes.example" "/forward"
                    do! ask 3 "https" "modes.example" "/reverse"
                    do! ask 5 "http" "modes.example:443" "/other-port"
                    Expect.equal (alpha.Value.One "/forward").Method "GET" "port 80, forward"
                    Expect.equal (beta.Value.One "/reverse").Method "GET" "reverse"
                    Expect.equal (beta.Value.One "/other-port").Method "GET" "another port"
                })
        ]
