/// Fields of routes on every listener and over every protocol that they hold for: a table of requests, and what comes
/// back or arrives.
module Kedge.Tests.EndToEnd.RouteFieldTests

open System
open System.Net
open System.Net.Http
open System.Net.WebSockets
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.Authorization
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private http =
    [
        """{ "host_matcher": "other.example", "listener": "ANY", "redirect": { "host": "www.example", "status": 303 },
             "response_headers": { "set": { "cache-control": "no-store", "x-host": "{host}" }, "add": { "x-by": "edge" } } }"""
        """{ "name": "secure", "host_matcher": "secure.example", "listener": "PLAIN", "methods": ["GET"],
             "redirect": { "scheme": "https", "port": 8443, "status": 308 },
             "response_headers": { "set": { "x-route": "{route}" } } }"""
        """{ "host_matcher": "secure.example", "listener": "ANY", "query_matcher": { "v": "2" },
             "respond": { "status": 200, "body": "two" } }"""
        """{ "host_matcher": "secure.example", "listener": "ANY", "header_matcher": { "x-env": { "prefix": "p" } },
             "respond": { "status": 200, "body": "prefix" } }"""
        """{ "host_matcher": "*.answer.example", "listener": "ANY",
             "respond": { "status": 404, "body": "{}", "content_type": "application/json",
                          "headers": { "x-by": "answer", "x-old": "1" } },
             "response_headers": { "set": { "content-language": "en" }, "add": { "x-by": "edge" }, "remove": ["x-old"] } }"""
        """{ "backend_name": "web", "host_matcher": "shop.example", "listener": "ANY", "path_rules": ["/api/**"],
             "rewrite": { "replace_prefix": "/v1", "host": "shop.internal", "reverse_location": true },
             "request_headers": { "set": { "x-env": "prod" }, "remove": ["x-debug"] } }"""
    ]

let private grpc =
    [
        """{ "authority_host_matcher": "calls.example", "service_name_matcher": "kedge.test.Echo/Unary",
             "respond": { "grpc_status": "ABORTED", "message": "one method" } }"""
        """{ "authority_host_matcher": "calls.example", "service_name_matcher": "kedge.test.Echo", "listener": "ANY",
             "respond": { "grpc_status": "DATA_LOSS", "message": "a service" },
             "response_headers": { "set": { "x-host": "{host}" }, "add": { "x-by": "edge" } } }"""
        """{ "authority_host_matcher": "calls.example", "service_name_matcher": "kedge.*", "listener": "PLAIN",
             "respond": { "grpc_status": "INTERNAL" } }"""
        """{ "authority_host_matcher": "*.calls.example", "authority_port_matcher": 8443,
             "metadata_matcher": { "x-env": "prod" }, "listener": "ANY", "respond": { "grpc_status": "UNKNOWN" } }"""
        """{ "authority_host_matcher": "*.calls.example", "metadata_matcher": { "x-env": { "prefix": "pr" } },
             "listener": "ANY", "respond": { "grpc_status": "OUT_OF_RANGE" } }"""
        """{ "authority_host_matcher": "*.calls.example", "metadata_matcher": { "x-env": { "present": true } },
             "listener": "ANY", "respond": { "grpc_status": "NOT_FOUND" } }"""
    ]

let private plainPort = lazy Ports.free ()
let private peer = Shared.make (fun () -> new HttpPeer "web")

let private kedge =
    Shared.make (fun () ->
        Kedge
            .Start(
                Json.director http grpc,
                Json.pool [ Json.backend "web" peer.Value.Port ] [],
                [ $"--server_http_plain_port={plainPort.Value}" ]
            )
            .GetAwaiter()
            .GetResult())

let private plainClient (version: Version) =
    new HttpClient(
        Clients.handler plainPort.Value None,
        DefaultRequestVersion = version,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        Timeout = patience
    )

let private plainClients =
    lazy
        [
            "clear-text HTTP/1.1", plainClient HttpVersion.Version11
            "clear-text HTTP/2", plainClient HttpVersion.Version20
        ]

let private tlsClients =
    lazy
        [
            "HTTP/1.1", Clients.http1 kedge.Value.HttpsPort None
            "HTTP/2", Clients.http2 kedge.Value.HttpsPort None
        ]

let private clientsFor (url: string) =
    kedge.Value |> ignore

    if url.StartsWith "http://" then
        plainClients.Value
    else
        tlsClients.Value

let private withHeaders (headers: (string * string) list) (request: HttpRequestMessage) =
    for name, value in headers do
        request.Headers.TryAddWithoutValidation(name, value) |> ignore

    request

/// The request, the status of the response, and headers that it has ("" = not).
let private rows =
    [
        "GET https://other.example/a?b",
        [],
        303,
        [
            "Location", "https://www.example/a?b"
            "Cache-Control", "no-store"
            "x-host", "other.example"
            "x-by", "edge"
            "X-Kedge-Error-Type", ""
        ]
        "POST http://other.example:8080/", [], 303, [ "Location", "http://www.example:8080/"; "x-by", "edge" ]
        "GET http://secure.example/a", [], 308, [ "Location", "https://secure.example:8443/a"; "x-route", "secure" ]
        "GET https://secure.example/a", [], 502, [ "X-Kedge-Error-Type", "no-route"; "x-route", "" ]
        "POST http://secure.example/?v=2", [], 200, [ "x-route", "" ]
        "POST http://secure.example/", [ "X-Env", "prod" ], 200, []
        // The default of the listener.
        "POST http://secure.example/", [ "X-Env", "dev" ], 308, [ "Location", "https://secure.example/" ]
        "GET https://secure.example/?v=2", [], 200, []

        for scheme in [ "http"; "https" ] do
            $"GET {scheme}://a.b.answer.example/",
            [],
            404,
            [
                "Content-Type", "application/json"
                "Content-Language", "en"
                "x-by", "answer, edge"
                "x-old", ""
                "X-Kedge-Error-Type", ""
            ]

        "GET https://answer.example/", [], 502, [ "X-Kedge-Error-Type", "no-route" ]
    ]

/// The ports, the authority and the method of a call, its metadata, its status, and headers of the response.
let private calls =
    let onTls = [ "gRPC port"; "HTTPS port" ]
    let everywhere = "clear text" :: onTls
    let unimplemented = [ "grpc-message", "" ]

    [
        onTls,
        "calls.example",
        "kedge.test.Echo/Unary",
        [],
        StatusCode.Aborted,
        [ "grpc-message", "one method"; "x-by", "" ]
        everywhere,
        "calls.example",
        "kedge.test.Echo/Bidi",
        [],
        StatusCode.DataLoss,
        [
            "grpc-message", "a service"
            "x-host", "calls.example"
            "x-by", "edge"
            "X-Kedge-Error-Type", ""
        ]
        // The first route holds for TLS only.
        [ "clear text" ], "calls.example", "kedge.test.Echo/Unary", [], StatusCode.DataLoss, []
        [ "clear text" ], "calls.example", "kedge.test.Other/Unary", [], StatusCode.Internal, unimplemented
        onTls, "calls.example", "kedge.test.Other/Unary", [], StatusCode.Unimplemented, []
        everywhere, "a.calls.example:8443", "p.S/M", [ "x-env", "prod" ], StatusCode.Unknown, unimplemented
        everywhere, "a.b.calls.example", "p.S/M", [ "x-env", "prod" ], StatusCode.OutOfRange, unimplemented
        everywhere, "a.calls.example:8443", "p.S/M", [ "x-env", "dev" ], StatusCode.NotFound, unimplemented
        everywhere, "a.calls.example:8443", "p.S/M", [], StatusCode.Unimplemented, []
    ]

[<Tests>]
let tests =
    testList
        "fields of routes, end to end"
        [
            case "conditions, redirects and fixed answers, with the headers that their routes change" (fun () ->
                task {
                    for request, headers, status, expected in rows do
                        let words = request.Split ' '

                        for protocol, client in clientsFor words[1] do
                            let! answer =
                                new HttpRequestMessage(HttpMethod words[0], words[1])
                                |> withHeaders headers
                                |> send client

                            Expect.equal answer.Status status $"{protocol}: {request}"

                            for name, value in expected do
                                Expect.equal (answer.Header name) value $"{protocol}: {request}: {name}"
                })

            case "the same for gRPC calls, on each port that takes them" (fun () ->
                task {
                    use grpcPort = Clients.http2 kedge.Value.GrpcPort None
                    use httpsPort = Clients.http2 kedge.Value.HttpsPort None
                    use clear = plainClient HttpVersion.Version20

                    for ports, authority, method, metadata, status, expected in calls do
                        for port in ports do
                            let scheme, client =
                                match port with
                                | "gRPC port" -> "https", grpcPort
                                | "HTTPS port" -> "https", httpsPort
                                | _ -> "http", clear

                            let! answer =
                                Clients.emptyCall $"{scheme}://{authority}/{method}"
                                |> withHeaders (("te", "trailers") :: metadata)
                                |> send client

                            let what = $"{port}: {authority}/{method} {metadata}"
                            Expect.equal (answer.Status, answer.Header "grpc-status") (200, string (int status)) what

                            for name, value in expected do
                                Expect.equal (answer.Header name) value $"{what}: {name}"
                })

            case "rewrites and changed headers, on each listener, and what the backend says is changed back" (fun () ->
                task {
                    for scheme in [ "http"; "https" ] do
                        for protocol, client in clientsFor $"{scheme}://" do
                            let id = Guid.NewGuid().ToString "N"

                            peer.Value.On(
                                $"/v1/{id}",
                                fun context ->
                                    context.Response.StatusCode <- 201
                                    context.Response.Headers.Location <- "http://shop.internal/v1/next"
                                    context.Response.Headers.SetCookie <- "a=b; Path=/v1"
                                    Task.CompletedTask
                            )

                            let! answer = get client $"{scheme}://shop.example/api/{id}" [ "x-debug", "1" ]
                            Expect.equal answer.Status 201 protocol
                            Expect.equal (answer.Header "Location") $"{scheme}://shop.example/api/next" protocol
                            Expect.equal (answer.Header "Set-Cookie") "a=b; Path=/api" protocol
                            let got = peer.Value.One $"/v1/{id}"
                            let header name = got.Header name

                            Expect.equal
                                (header "Host", header "X-Forwarded-Proto", header "x-env", header "x-debug")
                                ("shop.internal", scheme, "prod", "")
                                protocol
                })

            case "a WebSocket is rewritten like other requests" (fun () ->
                task {
                    for version in [ HttpVersion.Version11; HttpVersion.Version20 ] do
                        let id = Guid.NewGuid().ToString "N"
                        peer.Value.OnWebSocketEcho $"/v1/{id}"
                        use limit = new CancellationTokenSource(patience)
                        use socket = new ClientWebSocket()
                        socket.Options.HttpVersion <- version
                        socket.Options.HttpVersionPolicy <- HttpVersionPolicy.RequestVersionExact
                        use invoker = new HttpMessageInvoker(Clients.handler kedge.Value.HttpsPort None)
                        do! socket.ConnectAsync(Uri $"wss://shop.example/api/{id}", invoker, limit.Token)
                        do! socket.SendAsync(ArraySegment [| 7uy |], WebSocketMessageType.Binary, true, limit.Token)
                        let buffer = Array.zeroCreate<byte> 8
                        let! got = socket.ReceiveAsync(ArraySegment buffer, limit.Token)
                        Expect.equal (got.Count, buffer[0]) (1, 7uy) $"{version}"
                        do! socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "enough", limit.Token)
                        let sent = peer.Value.One $"/v1/{id}"
                        Expect.equal (sent.Header "Host", sent.Header "x-env") ("shop.internal", "prod") $"{version}"
                })

            case "gRPC metadata with the caller's certificate, token and address" (fun () ->
                task {
                    use calls = new GrpcPeer "who"
                    use issuer = new Issuer()

                    let route =
                        """{ "name": "calls", "backend_name": "who", "authority_host_matcher": "who.example",
                             "request_headers": { "set": {
                               "x-user": "{token_subject}", "x-san": "{client_san}", "x-where": "{client_address}",
                               "x-request": "{request_id}", "x-target": "{route} of {host}" } } }"""

                    let flags =
                        [
                            yield! issuer.Flags
                            $"--server_tls_client_ca_files={Certificates.authority.Value.File}"
                            "--server_tls_client_cert_required=false"
                        ]

                    use! kedge =
                        Kedge.Start(Json.director [] [ route ], Json.pool [] [ Json.backend "who" calls.Port ], flags)

                    let identity = Certificates.authority.Value.ClientNamed [ "agent.example" ]

                    for port in [ kedge.GrpcPort; kedge.HttpsPort ] do
                        use channel = Clients.grpc port (Some identity) "who.example:443"
                        let id = Guid.NewGuid().ToString "N"
                        let metadata = Metadata()
                        metadata.Add("x-id", id)
                        metadata.Add("proxy-authorization", $"Bearer {(issuer.Token []).Text}")
                        metadata.Add("x-user", "forged")
                        metadata.Add("x-kedge-request-id", id)
                        let! _ = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"), metadata)
                        let got = calls.CallWith("x-id", id)
                        let value name = got.Metadata |> List.filter (fun (key, _) -> key = name) |> List.map snd

                        Expect.equal
                            [
                                for name in [ "x-user"; "x-san"; "x-where"; "x-request"; "x-target" ] do
                                    name, value name
                            ]
                            [
                                "x-user", [ "tester" ]
                                "x-san", [ "agent.example" ]
                                "x-where", [ "127.0.0.1" ]
                                "x-request", [ id ]
                                "x-target", [ "calls of who.example" ]
                            ]
                            $"port {port}"
                })
        ]
