module Kedge.Client.Tests.Library.HandlerTests

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Net
open System.Net.Http
open System.Net.WebSockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Grpc.Net.Client
open Kedge.Client
open Kedge.Client.Tests.Behind
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core
open Microsoft.Extensions.DependencyInjection

let private tls = KedgeTls(CaFiles = [| Certificates.authority.Value.File |])

let private routeTo (port: int) =
    KedgeRoute(Uri $"https://localhost:{port}", Tls = tls, ProxyAuth = TokenSources.Static("proxy", proxySecret))

let private handlerFor (route: KedgeRoute) = new KedgeHandler(KedgeMapper.Single route)

let private clientFor (route: KedgeRoute) = new HttpClient(handlerFor route, Timeout = patience)

/// Gives one token after the other, and remembers which were rejected.
type private Series(tokens: string list) =
    let remaining = Queue tokens
    let rejected = ConcurrentQueue<string>()
    member _.Rejected = rejected.ToArray()

    interface ITokenSource with
        member _.Name = "series"
        member _.GetTokenAsync _ = ValueTask.FromResult(AuthToken(remaining.Peek()))

        member _.Invalidate token =
            rejected.Enqueue token.Value

            if remaining.Count > 1 then
                remaining.Dequeue() |> ignore

[<Tests>]
let http =
    testList
        "client library, HTTP"
        [
            case "a service is called by its own name, with both credentials, and the request is not changed" (fun () ->
                task {
                    use client =
                        clientFor (
                            routeTo kedge.Value.HttpsPort
                            |> fun route ->
                                KedgeRoute(
                                    route.Kedge,
                                    Tls = tls,
                                    ProxyAuth = route.ProxyAuth,
                                    BackendAuth = TokenSources.Static("backend", backendSecret),
                                    Headers = Dictionary(dict [ "x-from-route", "yes" ])
                                )
                        )

                    use request =
                        new HttpRequestMessage(HttpMethod.Post, "http://svc.ns.prod:8081/called/by/name?x=1")

                    request.Content <- new StringContent "body"

                    request.Headers.TryAddWithoutValidation("Authorization", "Bearer of-the-caller")
                    |> ignore

                    request.Headers.TryAddWithoutValidation("Proxy-Authorization", "Bearer of-the-caller")
                    |> ignore

                    request.Headers.TryAddWithoutValidation("X-Kedge-Request-ID", "mine") |> ignore
                    use! response = client.SendAsync request
                    Expect.equal response.StatusCode HttpStatusCode.OK "status"
                    Expect.equal response.RequestMessage request "the response belongs to the caller's request"
                    let received = backend.Value.One "/called/by/name"
                    Expect.equal received.RawTarget "/called/by/name?x=1" "path and query"
                    Expect.equal (received.Header "Host") "svc.ns.prod:8081" "the service's own name"

                    Expect.equal
                        (received.Header "Authorization")
                        $"Bearer {backendSecret}"
                        "the service's credentials"

                    Expect.equal (received.Header "Proxy-Authorization") "" "those for the kedge stay there"
                    Expect.equal (received.Header "x-from-route") "yes" "the route's header"
                    Expect.equal (received.Header "X-Kedge-Request-ID") "mine" "the caller's request id"
                    Expect.equal received.BodyLength 4L "body"

                    Expect.isFalse
                        (request.Headers.ToString().Contains proxySecret)
                        "the caller's request has no token"

                    Expect.equal (string request.RequestUri) "http://svc.ns.prod:8081/called/by/name?x=1" "its URL"
                })

            case "five hundred hosts behind one kedge share few connections" (fun () ->
                task {
                    use peer = double HttpProtocols.Http1AndHttp2
                    use client = clientFor (routeTo peer.Port)

                    let call (number: int) =
                        task {
                            use! response = client.GetAsync $"http://svc-{number}.prod/many"
                            return int response.StatusCode
                        }

                    let! first = call 0
                    Expect.equal first 200 "the first"

                    let! statuses =
                        Task.WhenAll [ for number in 1..499 -> call number ] |> within "500 calls"

                    Expect.allEqual statuses 200 "all answered"
                    let received = peer.ReceivedOn "/many"

                    Expect.equal
                        (received |> Array.map (fun r -> r.Header "Host") |> Array.distinct).Length
                        500
                        "own names"

                    Expect.allEqual (received |> Array.map _.Protocol) "HTTP/2" "protocol"
                    Expect.isLessThanOrEqual (connections peer) 8 "connections"
                })

            case "a kedge that speaks HTTP/1.1 only is called with HTTP/1.1" (fun () ->
                task {
                    use peer = double HttpProtocols.Http1
                    use client = clientFor (routeTo peer.Port)

                    for number in 1..3 do
                        use! response =
                            client.PostAsync($"http://svc-{number}.prod/old", new StringContent "x")

                        Expect.equal response.StatusCode HttpStatusCode.OK "status"

                    let received = peer.ReceivedOn "/old"
                    Expect.allEqual (received |> Array.map _.Protocol) "HTTP/1.1" "protocol"
                    Expect.equal (Array.last received).BodyLength 1L "body"
                    Expect.equal (connections peer) 1 "one connection for all names"
                })

            case "WebSockets through HTTP/2 and HTTP/1.1 kedges" (fun () ->
                task {
                    use old = double HttpProtocols.Http1
                    old.OnWebSocketEcho "/ws"

                    for port, version in
                        [
                            kedge.Value.HttpsPort, HttpVersion.Version20
                            old.Port, HttpVersion.Version11
                        ] do
                        use invoker = new HttpMessageInvoker(handlerFor (routeTo port))
                        use socket = new ClientWebSocket()
                        socket.Options.HttpVersion <- version
                        socket.Options.HttpVersionPolicy <- HttpVersionPolicy.RequestVersionExact

                        do!
                            socket.ConnectAsync(Uri "ws://svc.ns.prod/ws", invoker, CancellationToken.None)
                            |> finishes "the handshake"

                        do!
                            socket.SendAsync(
                                ArraySegment(Encoding.UTF8.GetBytes "hello"),
                                WebSocketMessageType.Text,
                                true,
                                CancellationToken.None
                            )

                        let buffer = Array.zeroCreate<byte> 100

                        let! got =
                            socket.ReceiveAsync(ArraySegment buffer, CancellationToken.None)
                            |> within "the echo"

                        Expect.equal (Encoding.UTF8.GetString(buffer, 0, got.Count)) "hello" "echo"
                })

            case "a host that is not mapped is called directly, without credentials" (fun () ->
                task {
                    use peer = new HttpPeer "direct"

                    let mapper =
                        KedgeMapper.Hosts(Dictionary(dict [ "mapped.example", routeTo kedge.Value.HttpsPort ]))

                    use client = new HttpClient(new KedgeHandler(mapper))
                    use! direct = client.GetAsync $"http://127.0.0.1:{peer.Port}/direct"
                    Expect.equal direct.StatusCode HttpStatusCode.OK "direct"
                    let received = peer.One "/direct"
                    Expect.equal (received.Header "Proxy-Authorization") "" "no credentials"
                    Expect.equal (received.Header "X-Kedge-Request-ID") "" "no trace of kedge"
                    use! mapped = client.GetAsync "http://Mapped.Example:99/mapped-too"
                    Expect.equal mapped.StatusCode HttpStatusCode.OK "mapped"
                    Expect.equal (backend.Value.One "/mapped-too").Method "GET" "through the kedge"
                })

            case "credentials do not go to an http kedge: nothing is sent at all" (fun () ->
                task {
                    use peer = new HttpPeer "clear"

                    let route =
                        KedgeRoute(
                            Uri $"http://127.0.0.1:{peer.Port}",
                            ProxyAuth = TokenSources.Static("p", proxySecret)
                        )

                    use client = clientFor route

                    let! _ =
                        failure<ArgumentException> "the call" (fun () -> client.GetAsync "http://svc/x")

                    Expect.isEmpty peer.Received "nothing arrived"
                    use without = clientFor (KedgeRoute(Uri $"http://127.0.0.1:{peer.Port}"))
                    use! response = without.GetAsync "http://svc/clear"
                    Expect.equal response.StatusCode HttpStatusCode.OK "without credentials it may"
                })

            case "a token that the kedge rejects is replaced once, and the request repeated" (fun () ->
                task {
                    let series = Series [ "expired-token"; proxySecret; "never" ]

                    let route =
                        KedgeRoute(Uri $"https://localhost:{kedge.Value.HttpsPort}", Tls = tls, ProxyAuth = series)

                    use client = clientFor route
                    use! response = client.PostAsync("http://svc/repeated", new StringContent "again")
                    Expect.equal response.StatusCode HttpStatusCode.OK "the second attempt"
                    Expect.equal series.Rejected [| "expired-token" |] "rejected once"
                    Expect.equal (backend.Value.One "/repeated").BodyLength 5L "whole body"
                })

            case "a request whose body is gone is not repeated, but the next one has a new token" (fun () ->
                task {
                    let series = Series [ "expired-token"; proxySecret ]

                    let route =
                        KedgeRoute(Uri $"https://localhost:{kedge.Value.HttpsPort}", Tls = tls, ProxyAuth = series)

                    use client = clientFor route
                    let stream () = new StreamContent(new IO.MemoryStream([| 1uy |]))
                    use! first = client.PostAsync("http://svc/once", stream ())
                    Expect.equal first.StatusCode HttpStatusCode.Unauthorized "the kedge's own answer"
                    Expect.equal (nonNull (KedgeError.Of first)).Type "unauthorized" "its type"
                    use! second = client.PostAsync("http://svc/once", stream ())
                    Expect.equal second.StatusCode HttpStatusCode.OK "with the new token"
                })

            case "an answer of the kedge itself is an exception on request" (fun () ->
                task {
                    let mapper = KedgeMapper.Single(routeTo kedge.Value.HttpsPort)

                    use client =
                        new HttpClient(new KedgeHandler(mapper, KedgeHandlerOptions(ThrowOnKedgeError = true)))

                    let! error =
                        failure<KedgeException> "no backend" (fun () -> client.GetAsync "http://gone.prod.test/")

                    Expect.equal error.Failure KedgeFailure.KedgeAnswered "what it is"
                    Expect.equal (nonNull error.Error).Type "no-connection-to-all-resolved-addresses" "type"
                    Expect.equal (nonNull error.Error).BackendName "gone" "backend"
                    Expect.equal error.StatusCode (Nullable HttpStatusCode.BadGateway) "status"
                })

            case "a kedge that is down, a stranger's certificate and another name are sentences" (fun () ->
                task {
                    let refused = Ports.free ()
                    use down = clientFor (routeTo refused)
                    let! error = failure<KedgeException> "down" (fun () -> down.GetAsync "http://svc/")
                    Expect.equal error.Failure KedgeFailure.KedgeUnreachable "down"

                    Expect.stringContains
                        error.Message
                        $"the kedge localhost:{refused} cannot be reached"
                        "names the kedge"

                    Expect.stringContains error.Message "Connection refused" "says why"

                    use stranger =
                        clientFor (KedgeRoute(Uri $"https://localhost:{kedge.Value.HttpsPort}"))

                    let! error =
                        failure<KedgeException> "stranger" (fun () -> stranger.GetAsync "http://svc/")

                    Expect.equal error.Failure KedgeFailure.KedgeCertificate "untrusted"

                    let named = KedgeTls(CaFiles = tls.CaFiles, ServerName = "other.example")

                    use other =
                        clientFor (KedgeRoute(Uri $"https://localhost:{kedge.Value.HttpsPort}", Tls = named))

                    let! error = failure<KedgeException> "name" (fun () -> other.GetAsync "http://svc/")
                    Expect.equal error.Failure KedgeFailure.KedgeCertificate "another name"
                    Expect.stringContains error.Message "for another name" "says so"

                    use nowhere = clientFor (KedgeRoute(Uri "https://no-such-kedge.invalid"))

                    let! error =
                        failure<KedgeException> "name" (fun () -> nowhere.GetAsync "http://svc/")

                    Expect.equal error.Failure KedgeFailure.KedgeUnreachable "no such host"
                })

            case "a route's time limit ends a wait for the response" (fun () ->
                task {
                    use peer = double HttpProtocols.Http1AndHttp2
                    peer.On("/slow", fun context -> Task.Delay(Timeout.Infinite, context.RequestAborted))

                    let route =
                        KedgeRoute(
                            Uri $"https://localhost:{peer.Port}",
                            Tls = tls,
                            Timeout = Nullable(TimeSpan.FromSeconds 0.3)
                        )

                    use client = clientFor route

                    let! error =
                        failure<KedgeException> "slow" (fun () -> client.GetAsync "http://svc/slow")

                    Expect.equal error.Failure KedgeFailure.Timeout "time limit"
                })

            case "a client of the factory goes through the kedge in one line" (fun () ->
                task {
                    let services = ServiceCollection()

                    services.AddHttpClient("svc").UseKedge(KedgeMapper.Single(routeTo kedge.Value.HttpsPort))
                    |> ignore

                    use provider = services.BuildServiceProvider()
                    use client = provider.GetRequiredService<IHttpClientFactory>().CreateClient "svc"
                    let! body = client.GetStringAsync "http://svc.ns.prod/by-factory"
                    Expect.equal body "behind" "the service's answer"
                })

            test "mappers from code" {
                let route = KedgeRoute(Uri "https://k.example")
                let map (mapper: IKedgeMapper) host port = mapper.Map(host, port, Kedge.Domain.Protocol.Http)
                let ports = KedgeMapper.HostPorts(Dictionary(dict [ "A.example:80", route ]))
                Expect.equal (map ports "a.example" 80) route "host and port"
                Expect.isNull (map ports "a.example" 81) "another port"

                let suffix =
                    KedgeMapper.Suffix("*.*.clusters.local", ".clusters.example.com", port = Nullable 8443)

                let found = nonNull (map suffix "svc.ns.us1.prod.clusters.local" 80)
                Expect.equal (string found.Kedge) "https://us1.prod.clusters.example.com:8443/" "suffix"
                Expect.isNull (map suffix "prod.clusters.local" 80) "fewer labels"

                Expect.throwsT<ArgumentException>
                    (fun () -> KedgeMapper.Suffix("a.*", ".b.example") |> ignore)
                    "pattern"

                Expect.throwsT<ArgumentException>
                    (fun () -> KedgeMapper.HostPorts(Dictionary(dict [ "a", route ])) |> ignore)
                    "port"
            }
        ]

[<Tests>]
let grpc =
    let channel (handler: KedgeHandler) (authority: string) =
        GrpcChannel.ForAddress($"http://{authority}", GrpcChannelOptions(HttpHandler = handler))

    testList
        "client library, gRPC"
        [
            case "calls by the service's own name, with both credentials and no client certificate" (fun () ->
                task {
                    let route = routeTo kedge.Value.GrpcPort

                    let route =
                        KedgeRoute(
                            route.Kedge,
                            Tls = tls,
                            ProxyAuth = route.ProxyAuth,
                            BackendAuth = TokenSources.Static("b", backendSecret)
                        )

                    use handler = handlerFor route
                    use channel = channel handler "svc.ns.prod:50051"
                    let client = Echo.EchoClient channel

                    let! reply =
                        client.UnaryAsync(EchoRequest(Text = "hi")).ResponseAsync |> within "the reply"

                    Expect.equal reply.Authority "svc.ns.prod:50051" "authority"
                    Expect.equal reply.Metadata["authorization"] $"Bearer {backendSecret}" "credentials"
                    Expect.isFalse (reply.Metadata.ContainsKey "proxy-authorization") "those of the kedge stay there"
                    use bidi = client.Bidi()

                    for text in [ "a"; "b" ] do
                        do! bidi.RequestStream.WriteAsync(EchoRequest(Text = text))
                        let! more = bidi.ResponseStream.MoveNext CancellationToken.None |> within text
                        Expect.isTrue more "there is a reply"
                        Expect.equal bidi.ResponseStream.Current.Text text "in step"

                    do! bidi.RequestStream.CompleteAsync()
                    let! more = bidi.ResponseStream.MoveNext CancellationToken.None
                    Expect.isFalse more "the end"
                })

            case "many services, one handler, few connections" (fun () ->
                task {
                    use peer = double HttpProtocols.Http2
                    use handler = handlerFor (routeTo peer.Port)

                    // The double is no gRPC server: what counts is how the calls arrive.
                    let call (number: int) =
                        task {
                            use channel = channel handler $"svc-{number}.prod:50051"

                            let! _ =
                                failure<RpcException> "the call" (fun () ->
                                    (Echo.EchoClient channel).UnaryAsync(EchoRequest()).ResponseAsync)

                            ()
                        }

                    for number in 1..50 do
                        do! call number

                    let received = peer.ReceivedOn "/kedge.test.Echo/Unary"

                    Expect.equal
                        (received |> Array.map (fun r -> r.Header "Host") |> Array.distinct).Length
                        50
                        "own names"

                    Expect.equal (connections peer) 1 "one connection"
                })

            case "the kedge's own answers, and a kedge that is down, are statuses" (fun () ->
                task {
                    let route =
                        KedgeRoute(
                            Uri $"https://localhost:{kedge.Value.GrpcPort}",
                            Tls = tls,
                            ProxyAuth = TokenSources.Static("p", "wrong-token")
                        )

                    use handler = handlerFor route
                    use rejected = channel handler "svc:50051"

                    let! error =
                        failure<RpcException> "rejected" (fun () ->
                            (Echo.EchoClient rejected).UnaryAsync(EchoRequest()).ResponseAsync)

                    Expect.equal error.StatusCode StatusCode.Unauthenticated "rejected"
                    use nowhere = handlerFor (routeTo (Ports.free ()))
                    use down = channel nowhere "svc:50051"

                    let! error =
                        failure<RpcException> "down" (fun () ->
                            (Echo.EchoClient down).UnaryAsync(EchoRequest()).ResponseAsync)

                    Expect.stringContains error.Status.Detail "cannot be reached" "down"
                })
        ]
