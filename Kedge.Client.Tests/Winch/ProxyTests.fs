/// Requests through the real winch and the real kedge, as users' tools send them.
module Kedge.Client.Tests.Winch.ProxyTests

open System
open System.IO
open System.Net
open System.Net.Http
open System.Net.WebSockets
open System.Runtime.InteropServices
open System.Text
open System.Text.RegularExpressions
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Grpc.Net.Client
open Kedge.Client.Tests.Behind
open Kedge.Client.Tests.Winch.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core

/// The headers and the body of an answer that `curl -i` printed.
let private get (more: string list) (url: string) = curl ("-i" :: "--proxy" :: winch.Value.Proxy :: more @ [ url ])

let private contains (text: string) (part: string) = Expect.stringContains text part part

/// Opens a tunnel to the target, as a library with a proxy setting does.
let private connectFirst (context: SocketsHttpConnectionContext) (stream: Stream) : Task =
    task {
        let target = $"{context.DnsEndPoint.Host}:{context.DnsEndPoint.Port}"
        do! stream.WriteAsync(Encoding.ASCII.GetBytes $"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
        let answer = "HTTP/1.1 200 Connection established\r\n\r\n"
        let buffer = Array.zeroCreate<byte> answer.Length
        do! stream.ReadExactlyAsync buffer
        Expect.equal (Encoding.ASCII.GetString buffer) answer "the tunnel"
    }

[<Tests>]
let http =
    testList
        "winch, HTTP"
        [
            case "a service by its own name, with the credentials of its route" (fun () ->
                task {
                    // Its test is the last one, and then hardly waits.
                    longStream.Value |> ignore

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

            case "a Unix domain socket, for its user alone" (fun () ->
                task {
                    use scratch = new Scratch()
                    let path = scratch.File "winch.sock"
                    let start () = Winch.Start(usual (), sources, [ $"--listen_unix={path}" ])
                    let ask (url: string) = curl [ "-i"; "--unix-socket"; path; url ]
                    use! own = start ()
                    let! _, answer = ask "http://plain.prod.test/by-socket"
                    contains answer "HTTP/1.1 200"
                    contains answer "behind"

                    use channel =
                        channelOn
                            (handlerAt (Sockets.UnixDomainSocketEndPoint path) (fun _ _ -> Task.CompletedTask))
                            "calls-only.prod.test:50051"

                    let! reply =
                        (Echo.EchoClient channel).UnaryAsync(EchoRequest()).ResponseAsync
                        |> within "the reply"

                    Expect.equal reply.Authority "calls-only.prod.test:50051" "a gRPC call"
                    let! _, answer = ask $"http://127.0.0.1:{own.Port}/"
                    contains answer "HTTP/1.1 508"

                    Expect.equal
                        (File.GetUnixFileMode path)
                        (UnixFileMode.UserRead ||| UnixFileMode.UserWrite)
                        "permissions"

                    // Another one does not take it away.
                    let failed (path: string) =
                        Winch.Run(
                            scratch.Path,
                            [
                                $"--listen_unix={path}"
                                $"--server_http_port={Ports.free ()}"
                                "--server_grpc_port=0"
                                $"""--server_mapper_config={idle ""}"""
                            ],
                            []
                        )

                    let! code, output, errors = failed path
                    Expect.equal code 1 "in use"

                    contains
                        (String.Join('\n', Array.append output errors))
                        $"cannot listen on {path}: the path is in use"

                    let document = scratch.Write("document", "text")
                    let! code, _, _ = failed document
                    Expect.equal (code, File.ReadAllText document) (1, "text") "a file of the user"
                    let! code, _, errors = failed (scratch.File(String('x', 200)))
                    Expect.equal code 2 "too long"
                    contains (String.Join('\n', errors)) "is not a valid path for a socket"

                    // One that a killed process left behind is replaced.
                    own.Program.Signal(enum<PosixSignal> 9)
                    let! _ = own.Program.Exit()
                    Expect.isTrue (File.Exists path) "left behind"
                    use! again = start ()
                    let! _, answer = ask "http://plain.prod.test/by-socket"
                    contains answer "HTTP/1.1 200"
                    again.Program.Signal PosixSignal.SIGTERM
                    let! code = again.Program.Exit()
                    Expect.equal (code, File.Exists path) (0, false) "it ends well, and takes its socket away"
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
                        use handler =
                            if usesTunnel then
                                new SocketsHttpHandler(Proxy = WebProxy winch.Value.Proxy)
                            else
                                handlerOn winch.Value.Port

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

                    // winch records a request after its last byte.
                    do!
                        soon
                            patience
                            "on the status page"
                            (fun () -> Winch.Direct.GetStringAsync(winch.Value.Url "/"))
                            (fun page ->
                                page.Contains "kedge: no-connection-to-all-resolved-addresses"
                                && page.Contains "gone.prod.test")
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
                    let! _, answer = get [] "http://untrusted.prod.test/"
                    contains answer "X-Winch-Error-Type: kedge-certificate"
                    contains answer "winch: TLS with the kedge localhost:"
                    let! _, answer = get [] "http://without-token.prod.test/"
                    contains answer "X-Winch-Error-Type: auth-source-failed"
                    contains answer "auth source none: "
                    let! _, answer = get [] "http://wrong-token.prod.test/"
                    contains answer "HTTP/1.1 401"
                    contains answer "x-kedge-error-type: unauthorized"
                })

            case "the status page and `winch status` say which kedges can be reached" (fun () ->
                task {
                    use! own = Winch.Start(usual (), sources, [])
                    let! _ = curl [ "--proxy"; own.Proxy; "http://plain.prod.test/" ]
                    let! _ = curl [ "--proxy"; own.Proxy; "http://down.prod.test/" ]
                    let! page = Winch.Direct.GetStringAsync(own.Url "/")

                    let rows =
                        Regex.Matches(page, "<tr><td><code>(localhost:[0-9]+)</code></td>(.*?)</tr>")
                        |> Seq.map (fun row -> row.Groups[1].Value, row.Groups[2].Value)
                        |> List.ofSeq

                    let ofKedge (port: int) = rows |> List.filter (fun (name, _) -> name = $"localhost:{port}")
                    let row = ofKedge kedge.Value.HttpsPort |> List.map snd |> String.concat ""
                    Expect.isTrue (Regex.IsMatch(row, "<td>in [0-9]+ ms</td><td>[0-9]{4}-[0-9-]+ [0-9:]+Z</td>")) row

                    let failed =
                        rows |> List.filter (fun (_, text) -> text.Contains "cannot be reached")

                    Expect.isNonEmpty failed page
                    use scratch = new Scratch()

                    let! code, output, _ =
                        Winch.Run(scratch.Path, [ "status"; $"--server_http_port={own.Port}" ], [])

                    Expect.equal code 0 "it runs"
                    let text = String.Join('\n', Array.ofSeq output)
                    contains text $"kedge localhost:{kedge.Value.HttpsPort}: connected in "
                    contains text ", certificate valid until "
                    contains text " cannot be reached: "
                })

            case "the metrics count requests and errors" (fun () ->
                task {
                    let! _ = get [] "http://counted.prod.test/"
                    let! _ = get [] "http://down.prod.test/"

                    // winch counts a request after its last byte.
                    do!
                        soon
                            patience
                            "in the metrics"
                            (fun () -> Winch.Direct.GetStringAsync(winch.Value.Url "/metrics"))
                            (fun metrics ->
                                metrics.Contains
                                    """kedge_winch_requests_total{route="9",kedge="localhost",protocol="http",code="200"}"""
                                && metrics.Contains """kedge_winch_errors_total{type="kedge-unreachable"}""")
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
                        use channel = channelTo port "calls-only.prod.test:50051"
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

                    let winchItself = IPEndPoint(IPAddress.Loopback, winch.Value.Port)

                    use channel =
                        channelOn (handlerAt winchItself connectFirst) "calls-only.prod.test:50051"

                    let! reply = unary channel |> within "the reply in the tunnel"
                    Expect.equal reply.Authority "calls-only.prod.test:50051" "authority in the tunnel"
                })

            case "what fails is a status at once, with a sentence" (fun () ->
                task {
                    let channel host = channelTo winch.Value.GrpcPort host
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

            case "fifty calls share a connection to their kedge, on both ports and in tunnels" (fun () ->
                task {
                    use peer = double HttpProtocols.Http2

                    let mapper =
                        mapper [ route "^svc-[0-9]+[.]prod[.]test$" $"https://localhost:{peer.Port}" "" ]

                    use! own = Winch.Start(mapper, "", [])
                    let main = IPEndPoint(IPAddress.Loopback, own.Port)

                    let handlers =
                        [
                            fun () -> handlerOn own.Port
                            fun () -> handlerOn own.GrpcPort
                            fun () -> handlerAt main connectFirst
                        ]

                    // The double is no gRPC server: what counts is how the calls arrive.
                    let call (number: int) =
                        task {
                            use channel = channelOn (handlers[number % 3]()) $"svc-{number}.prod.test:50051"

                            let! _ = refused channel
                            ()
                        }

                    do! call 0
                    let! _ = Task.WhenAll [ for number in 1..49 -> call number ] |> within "all calls"
                    let received = peer.ReceivedOn "/kedge.test.Echo/Unary"
                    Expect.equal (received |> Array.distinctBy (_.Header("Host"))).Length 50 "all arrived"
                    Expect.equal (connections peer) 1 "connections"
                })
        ]
