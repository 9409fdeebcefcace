/// Requests through the real winch and the real kedge, as users' tools send them.
module Kedge.Client.Tests.Winch.ProxyTests

open System
open System.IO
open System.Net
open System.Net.Http
open System.Net.WebSockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Grpc.Net.Client
open Kedge.Client.Tests.Winch.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http

/// The headers and the body of an answer that `curl -i` printed.
let private get (more: string list) (url: string) = curl ("-i" :: "--proxy" :: winch.Value.Proxy :: more @ [ url ])

let private contains (text: string) (part: string) = Expect.stringContains text part part

let private channelTo (address: string) (host: string) =
    let handler =
        new SocketsHttpHandler(
            UseProxy = false,
            ConnectCallback =
                fun _ cancel ->
                    ValueTask<Stream>(
                        task {
                            let socket = new Sockets.Socket(Sockets.SocketType.Stream, Sockets.ProtocolType.Tcp)

                            do! socket.ConnectAsync(IPEndPoint.Parse address, cancel)
                            return new Sockets.NetworkStream(socket, true) :> Stream
                        }
                    )
        )

    GrpcChannel.ForAddress($"http://{host}", GrpcChannelOptions(HttpHandler = handler))

[<Tests>]
let http =
    testList
        "winch, HTTP"
        [
            case "a service by its own name, with the credentials of its route" (fun () ->
                task {
                    let! code, answer =
                        get
                            [
                                "-H"
                                "Authorization: Bearer of-the-caller"
                                "-H"
                                "Proxy-Authorization: Basic b2Y6Y2FsbGVy"
                                "-d"
                                "four"
                            ]
                            "http://with-service.prod.test/by/name?x=1"

                    Expect.equal code 0 answer
                    contains answer "HTTP/1.1 200"
                    contains answer "behind"
                    let received = backend.Value.One "/by/name"
                    Expect.equal received.RawTarget "/by/name?x=1" "path and query"
                    Expect.equal (received.Header "Host") "with-service.prod.test" "own name"

                    Expect.equal
                        (received.Header "Authorization")
                        $"Bearer {backendSecret}"
                        "the service's credentials"

                    Expect.equal (received.Header "Proxy-Authorization") "" "those of the kedge stay there"
                    Expect.equal received.BodyLength 4L "body"
                    Expect.stringStarts (received.Header "X-Kedge-Request-ID") "winch-" "request id"
                })

            case "the port of the URL is kept, and so are a request id and the caller's credentials" (fun () ->
                task {
                    let! _, answer =
                        get
                            [
                                "-H"
                                "X-Kedge-Request-ID: mine"
                                "-H"
                                "Authorization: Bearer of-the-caller"
                            ]
                            "http://plain.prod.test:8081/with-port"

                    contains answer "HTTP/1.1 200"
                    let received = backend.Value.One "/with-port"
                    Expect.equal (received.Header "Host") "plain.prod.test:8081" "authority"
                    Expect.equal (received.Header "X-Kedge-Request-ID") "mine" "request id"
                    Expect.equal (received.Header "Authorization") "Bearer of-the-caller" "the route adds none"
                })

            case "origin form with the service's name, as curl --resolve and /etc/hosts send it" (fun () ->
                task {
                    let! code, answer =
                        curl
                            [
                                "--resolve"
                                $"plain.prod.test:{winch.Value.Port}:127.0.0.1"
                                $"http://plain.prod.test:{winch.Value.Port}/resolved"
                            ]

                    Expect.equal (code, answer) (0, "behind") "answer"

                    Expect.equal
                        ((backend.Value.One "/resolved").Header "Host")
                        $"plain.prod.test:{winch.Value.Port}"
                        "own name"
                })

            case "HTTP/2 with prior knowledge, on both ports" (fun () ->
                task {
                    for port in [ winch.Value.Port; winch.Value.GrpcPort ] do
                        let! code, answer =
                            curl
                                [
                                    "-i"
                                    "--http2-prior-knowledge"
                                    "--connect-to"
                                    $"::127.0.0.1:{port}"
                                    $"http://plain.prod.test/h2c/{port}"
                                ]

                        Expect.equal code 0 answer
                        contains answer "HTTP/2 200"
                        Expect.equal (backend.Value.ReceivedOn $"/h2c/{port}").Length 1 "arrived"
                })

            case "a tunnel with clear text in it becomes requests" (fun () ->
                task {
                    let! code, answer = get [ "--proxytunnel" ] "http://plain.prod.test/tunnelled"
                    Expect.equal code 0 answer
                    contains answer "HTTP/1.1 200 Connection established"
                    contains answer "behind"

                    Expect.equal
                        ((backend.Value.One "/tunnelled").Header "X-Kedge-Request-ID").Length
                        42
                        "through the kedge"
                })

            case "a tunnel with TLS goes end to end through the kedge where the route says so" (fun () ->
                task {
                    let port = tlsService.Value.Port

                    let! code, answer =
                        get [ "--insecure"; "--proxytunnel" ] $"https://tls.tunnel.test:{port}/end-to-end"

                    Expect.equal code 0 answer
                    contains answer "tls-behind"
                    Expect.equal ((tlsService.Value.One "/end-to-end").Header "Authorization") "" "nothing is added"
                })

            case "a tunnel with TLS is refused with a reason where the route does not take it" (fun () ->
                task {
                    let! code, answer = get [] "https://plain.prod.test/secure"
                    Expect.notEqual code 0 "fails"
                    contains answer "X-Winch-Error-Type: connect-refused"
                    contains answer "does not take TLS from clients"
                    // On another port, winch sees TLS only in the tunnel.
                    let! code, _ = get [] "https://plain.prod.test:8443/secure"
                    Expect.equal code 35 "the TLS handshake fails"
                })

            case "a host that is not mapped is called directly, without credentials or traces" (fun () ->
                task {
                    use peer = new HttpPeer "direct"

                    for tunnel in [ []; [ "--proxytunnel" ] ] do
                        let! code, answer = get tunnel $"http://localhost:{peer.Port}/direct"
                        Expect.equal code 0 answer
                        contains answer "direct"

                    for received in peer.ReceivedOn "/direct" do
                        for header in
                            [
                                "Authorization"
                                "Proxy-Authorization"
                                "X-Kedge-Request-ID"
                                "X-Forwarded-For"
                            ] do
                            Expect.equal (received.Header header) "" header

                    Expect.equal (peer.ReceivedOn "/direct").Length 2 "both"
                })

            case "unmapped: refuse" (fun () ->
                task {
                    use peer = new HttpPeer "never"

                    use! strict = Winch.Start(idle ", \"unmapped\": \"refuse\"", "", [])

                    for tunnel in [ []; [ "--proxytunnel" ] ] do
                        let! _, answer =
                            curl (
                                [ "-i"; "--proxy"; strict.Proxy ]
                                @ tunnel
                                @ [ $"http://localhost:{peer.Port}/" ]
                            )

                        contains answer "HTTP/1.1 502"
                        contains answer "X-Winch-Error-Type: not-a-kedge-destination"

                    Expect.isEmpty peer.Received "nothing arrived"
                })

            case "WebSockets, by upgrade and in a tunnel" (fun () ->
                task {
                    for usesTunnel in [ false; true ] do
                        use handler = new SocketsHttpHandler()

                        if usesTunnel then
                            handler.Proxy <- WebProxy winch.Value.Proxy
                        else
                            handler.UseProxy <- false

                            handler.ConnectCallback <-
                                fun _ cancel ->
                                    ValueTask<Stream>(
                                        task {
                                            let socket =
                                                new Sockets.Socket(Sockets.SocketType.Stream, Sockets.ProtocolType.Tcp)

                                            do! socket.ConnectAsync(IPAddress.Loopback, winch.Value.Port, cancel)
                                            return new Sockets.NetworkStream(socket, true) :> Stream
                                        }
                                    )

                        use invoker = new HttpMessageInvoker(handler)
                        use socket = new ClientWebSocket()

                        do!
                            socket.ConnectAsync(Uri "ws://plain.prod.test/ws", invoker, CancellationToken.None)
                            |> finishes "the handshake"

                        for text in [ "hello"; "again" ] do
                            do!
                                socket.SendAsync(
                                    ArraySegment(Encoding.UTF8.GetBytes text),
                                    WebSocketMessageType.Text,
                                    true,
                                    CancellationToken.None
                                )

                            let buffer = Array.zeroCreate<byte> 100

                            let! got =
                                socket.ReceiveAsync(ArraySegment buffer, CancellationToken.None)
                                |> within "the echo"

                            Expect.equal (Encoding.UTF8.GetString(buffer, 0, got.Count)) text "echo"

                        do!
                            socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "bye", CancellationToken.None)
                            |> finishes "the end"
                })

            case "a stream arrives piece by piece" (fun () ->
                task {
                    let next = new SemaphoreSlim(0)

                    backend.Value.On(
                        "/pieces",
                        fun context ->
                            task {
                                for piece in 1..3 do
                                    do! context.Response.WriteAsync $"piece {piece}\n"
                                    do! context.Response.Body.FlushAsync()
                                    do! next.WaitAsync context.RequestAborted
                            }
                    )

                    use client =
                        new HttpClient(new SocketsHttpHandler(Proxy = WebProxy winch.Value.Proxy), Timeout = patience)

                    use! response =
                        client.GetAsync("http://plain.prod.test/pieces", HttpCompletionOption.ResponseHeadersRead)

                    use! body = response.Content.ReadAsStreamAsync()
                    use reader = new StreamReader(body)

                    for piece in 1..3 do
                        let! line = reader.ReadLineAsync() |> within $"piece {piece}"
                        Expect.equal line $"piece {piece}" "in step"
                        next.Release() |> ignore

                    let! last = reader.ReadLineAsync() |> within "the end"
                    Expect.isNull last "the end"
                })

            case "the answers of the kedge itself pass unchanged, and show on the status page" (fun () ->
                task {
                    let! _, answer = get [] "http://gone.prod.test/kedge-said"
                    contains answer "HTTP/1.1 502"
                    contains answer "x-kedge-error-type: no-connection-to-all-resolved-addresses"
                    let! page = Winch.Direct.GetStringAsync(winch.Value.Url "/")
                    contains page "kedge: no-connection-to-all-resolved-addresses"
                    contains page "gone.prod.test"
                })

            case "what fails in winch is a sentence with a type, as text and as a page" (fun () ->
                task {
                    let! _, answer = get [] "http://down.prod.test/"
                    contains answer "HTTP/1.1 502"
                    contains answer "X-Winch-Error-Type: kedge-unreachable"
                    contains answer "winch: the kedge localhost:"
                    contains answer "cannot be reached: "
                    let! _, page = get [ "-H"; "Accept: text/html" ] "http://down.prod.test/"
                    contains page "Content-Type: text/html"
                    contains page "<h1>The kedge does not answer</h1>"
                    let! _, answer = get [] "http://without-token.prod.test/"
                    contains answer "X-Winch-Error-Type: auth-source-failed"
                    contains answer "auth source none: "
                    let! _, answer = get [] "http://wrong-token.prod.test/"
                    contains answer "HTTP/1.1 401"
                    contains answer "x-kedge-error-type: unauthorized"
                })

            case "the metrics count requests and errors" (fun () ->
                task {
                    let! _ = get [] "http://counted.prod.test/"
                    let! _ = get [] "http://down.prod.test/"
                    let! metrics = Winch.Direct.GetStringAsync(winch.Value.Url "/metrics")

                    contains
                        metrics
                        """kedge_winch_requests_total{route="7",kedge="localhost",protocol="http",code="200"}"""

                    contains metrics """kedge_winch_errors_total{type="kedge-unreachable"}"""
                })
        ]

[<Tests>]
let grpc =
    let unary (channel: GrpcChannel) =
        (Echo.EchoClient channel)
            .UnaryAsync(EchoRequest(Text = "hi"), deadline = DateTime.UtcNow + patience)
            .ResponseAsync

    let refused (channel: GrpcChannel) = failure<RpcException> "the call" (fun () -> unary channel)

    testList
        "winch, gRPC"
        [
            case "calls on both ports, and by the standard proxy setting (CONNECT)" (fun () ->
                task {
                    for port in [ winch.Value.Port; winch.Value.GrpcPort ] do
                        use channel = channelTo $"127.0.0.1:{port}" "calls-only.prod.test:50051"
                        let! reply = unary channel |> within "the reply"
                        Expect.equal reply.Authority "calls-only.prod.test:50051" "authority"
                        Expect.isFalse (reply.Metadata.ContainsKey "proxy-authorization") "credentials of the kedge"
                        use call = (Echo.EchoClient channel).Bidi()

                        for text in [ "a"; "b" ] do
                            do! call.RequestStream.WriteAsync(EchoRequest(Text = text))
                            let! more = call.ResponseStream.MoveNext CancellationToken.None |> within text
                            Expect.isTrue more "there is a reply"
                            Expect.equal call.ResponseStream.Current.Text text "in step"

                        do! call.RequestStream.CompleteAsync()

                    let tunnel =
                        new SocketsHttpHandler(
                            UseProxy = false,
                            ConnectCallback =
                                fun context cancel ->
                                    ValueTask<Stream>(
                                        task {
                                            let socket =
                                                new Sockets.Socket(Sockets.SocketType.Stream, Sockets.ProtocolType.Tcp)

                                            do! socket.ConnectAsync(IPAddress.Loopback, winch.Value.Port, cancel)
                                            let stream = new Sockets.NetworkStream(socket, true)
                                            let target = $"{context.DnsEndPoint.Host}:{context.DnsEndPoint.Port}"

                                            do!
                                                stream.WriteAsync(
                                                    Encoding.ASCII.GetBytes
                                                        $"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
                                                )

                                            let answer = "HTTP/1.1 200 Connection established\r\n\r\n"
                                            let buffer = Array.zeroCreate<byte> answer.Length
                                            do! stream.ReadExactlyAsync(buffer, cancel)
                                            Expect.equal (Encoding.ASCII.GetString buffer) answer "the tunnel"
                                            return stream :> Stream
                                        }
                                    )
                        )

                    use channel =
                        GrpcChannel.ForAddress(
                            "http://calls-only.prod.test:50051",
                            GrpcChannelOptions(HttpHandler = tunnel)
                        )

                    let! reply = unary channel |> within "the reply in the tunnel"
                    Expect.equal reply.Authority "calls-only.prod.test:50051" "authority in the tunnel"
                })

            case "what fails is a status at once, with a sentence" (fun () ->
                task {
                    let channel host = channelTo $"127.0.0.1:{winch.Value.GrpcPort}" host
                    use nowhere = channel "svc.elsewhere.test:50051"
                    let! error = refused nowhere
                    Expect.equal error.StatusCode StatusCode.Unimplemented "not mapped"
                    Expect.equal error.Status.Detail "svc.elsewhere.test:50051 is not a kedge destination" "says so"
                    use down = channel "down.prod.test:50051"
                    let! error = refused down
                    Expect.equal error.StatusCode StatusCode.Unavailable "the kedge is down"
                    Expect.stringContains error.Status.Detail "cannot be reached" "says so"
                    use without = channel "without-token.prod.test:50051"
                    let! error = refused without
                    Expect.equal error.StatusCode StatusCode.Internal "no token"

                    Expect.equal
                        (error.Trailers.GetValue "x-winch-error-type")
                        "auth-source-failed"
                        "the type is in the trailers"
                })
        ]
