/// The plain-HTTP listener, redirects and fixed answers, with the real executable.
module Kedge.Tests.EndToEnd.PlainListenerTests

open System
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Text
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Grpc.Net.Client
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private plainPort = lazy Ports.free ()

let private http (body: string) =
    [
        Json.httpRoute "alpha" "tls.example"
        """{ "backend_name": "alpha", "host_matcher": "plain.example", "listener": "PLAIN" }"""
        """{ "backend_name": "alpha", "host_matcher": "any.example", "listener": "ANY" }"""
        """{ "host_matcher": "old.example", "path_rules": ["/docs/**"], "listener": "ANY",
             "redirect": { "host": "www.example", "path": { "replace_prefix": "/new" }, "status": 301 } }"""
        """{ "host_matcher": "port.example", "redirect": { "port": 8443, "strip_query": true, "status": 307 } }"""
        """{ "host_matcher": "full.example", "redirect": { "scheme": "http", "path": { "replace_full": "/x" } } }"""
        $$"""{ "name": "maintenance", "host_matcher": "down.example",
               "respond": { "status": 503, "retry_after": "10m", "body_file": {{Json.value body}},
                            "content_type": "text/html", "headers": { "x-by": "edge" } } }"""
        """{ "host_matcher": "text.example", "respond": { "status": 200, "body": "hello" } }"""
        """{ "host_matcher": "empty.example", "respond": { "status": 204 } }"""
        """{ "host_matcher": "closed.example", "respond": { "status": 200, "body": "in" },
             "authorization": { "client_cert_sans": ["c.example"] } }"""
    ]

let private grpc =
    [
        """{ "backend_name": "echo", "authority_host_matcher": "plain.example", "listener": "PLAIN" }"""
        """{ "backend_name": "echo", "authority_host_matcher": "tls.example" }"""
        """{ "authority_host_matcher": "down.example", "listener": "ANY",
             "respond": { "grpc_status": "UNAVAILABLE", "message": "back söon" } }"""
    ]

let private page = "<h1>Back soon</h1>\n"
let private scratch = lazy new Scratch()

let private kedge =
    Shared.make (fun () ->
        let body = scratch.Value.Write("soon.html", page)

        Kedge
            .Start(
                Json.directorWithAdhoc
                    (http body)
                    grpc
                    [
                        """{ "dns_name_matcher": "127.0.0.1", "port": { "allowed_ranges": [{ "from": 1024, "to": 65535 }] } }"""
                    ],
                Json.pool [ Json.backend "alpha" alpha.Value.Port ] [ Json.backend "echo" echo.Value.Port ],
                [
                    $"--server_http_plain_port={plainPort.Value}"
                    "--server_hsts_max_age=1h"
                    "--no_route_status=404"
                    "--adhoc_allow_loopback"
                    "--http_connect_enabled"
                ]
            )
            .GetAwaiter()
            .GetResult())

let private plain (version: Version) =
    let handler = Clients.handler plainPort.Value None
    kedge.Value |> ignore

    new HttpClient(
        handler,
        DefaultRequestVersion = version,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        Timeout = patience
    )

let private onPlain () = [ "HTTP/1.1", plain HttpVersion.Version11; "h2c", plain HttpVersion.Version20 ]

let private onTls () =
    [
        "HTTP/1.1", Clients.http1 kedge.Value.HttpsPort None
        "HTTP/2", Clients.http2 kedge.Value.HttpsPort None
    ]

let private each (clients: (string * HttpClient) list) (check: string -> HttpClient -> Task) : Task =
    task {
        for name, client in clients do
            use client = client
            do! check name client
    }

let private channel () =
    GrpcChannel.ForAddress(
        "http://plain.example",
        GrpcChannelOptions(HttpHandler = Clients.handler plainPort.Value None, DisposeHttpClient = true)
    )

let private status (call: Task) =
    task {
        try
            do! call
            return StatusCode.OK, ""
        with :? RpcException as e ->
            return e.StatusCode, e.Status.Detail
    }

[<Tests>]
let tests =
    testList
        "plain listener"
        [
            case "a route is reached on its own listener alone" (fun () ->
                task {
                    do!
                        each (onPlain ()) (fun name client ->
                            task {
                                let! own = get client "http://plain.example/x" []
                                Expect.equal (own.Status, own.Body) (200, "alpha") name
                                let! both = get client "http://any.example/x" []
                                Expect.equal (both.Status, both.Body) (200, "alpha") name
                                let! other = get client "http://tls.example/x?y=1" []
                                Expect.equal other.Status 308 name
                                Expect.equal (other.Header "Location") "https://tls.example/x?y=1" name
                                Expect.equal (other.Header "Strict-Transport-Security") "" "RFC 6797, 7.2"
                            })

                    do!
                        each (onTls ()) (fun name client ->
                            task {
                                let! own = get client "https://tls.example/x" []
                                Expect.equal (own.Status, own.Body) (200, "alpha") name
                                Expect.equal (own.Header "Strict-Transport-Security") "max-age=3600" name
                                let! both = get client "https://any.example/x" []
                                Expect.equal (both.Status, both.Body) (200, "alpha") name
                                let! other = get client "https://plain.example/x" []
                                Expect.equal (other.Status, other.Header "X-Kedge-Error-Type") (404, "no-route") name
                                Expect.equal (other.Header "Strict-Transport-Security") "max-age=3600" name
                            })
                })

            case "backends see the scheme that the caller used" (fun () ->
                task {
                    do!
                        each (onPlain ()) (fun name client ->
                            task {
                                let path = "/proto-" + name.Replace('/', '-')
                                let! _ = get client $"http://plain.example{path}" []
                                Expect.equal ((alpha.Value.One path).Header "X-Forwarded-Proto") "http" name
                            })

                    use client = Clients.http2 kedge.Value.HttpsPort None
                    let! _ = get client "https://tls.example/proto-tls" []
                    Expect.equal ((alpha.Value.One "/proto-tls").Header "X-Forwarded-Proto") "https" ""
                })

            case "neither ad-hoc rules nor tunnels hold in clear text" (fun () ->
                task {
                    use socket =
                        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

                    kedge.Value |> ignore
                    do! socket.ConnectAsync(IPEndPoint(IPAddress.Loopback, plainPort.Value))
                    use stream = new NetworkStream(socket)
                    let target = $"127.0.0.1:{alpha.Value.Port}"

                    let exchange (request: string) =
                        task {
                            do! stream.WriteAsync(ReadOnlyMemory(Encoding.ASCII.GetBytes request))
                            let buffer = Array.zeroCreate<byte> 4096
                            let! count = stream.ReadAsync(buffer.AsMemory())
                            return Encoding.ASCII.GetString(buffer, 0, count)
                        }

                    let! absolute =
                        exchange $"GET http://{target}/adhoc HTTP/1.1\r\nHost: {target}\r\n\r\n"

                    Expect.stringContains absolute "308" "redirected, not forwarded"
                    let! tunnel = exchange $"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
                    Expect.stringContains tunnel "405" "no tunnel"
                    Expect.isEmpty (alpha.Value.ReceivedOn "/adhoc") "nothing arrives"
                })

            case "gRPC over clear-text HTTP/2" (fun () ->
                task {
                    kedge.Value |> ignore
                    use channel = channel ()
                    let client = Echo.EchoClient channel
                    let! reply = client.UnaryAsync(EchoRequest(Text = "x"))
                    Expect.equal reply.Text "x" "its route"

                    use other =
                        GrpcChannel.ForAddress(
                            "http://tls.example",
                            GrpcChannelOptions(HttpHandler = Clients.handler plainPort.Value None)
                        )

                    let! refused =
                        status (Echo.EchoClient(other).UnaryAsync(EchoRequest()).ResponseAsync)

                    Expect.equal (fst refused) StatusCode.Unimplemented "a route for TLS"
                })

            case "a redirect changes what it says, over each protocol" (fun () ->
                task {
                    do!
                        each (onTls ()) (fun name client ->
                            task {
                                let! prefix = get client "https://OLD.example/docs//a/./b?q=1" []
                                Expect.equal prefix.Status 301 name
                                Expect.equal (prefix.Header "Location") "https://www.example/new/a/b?q=1" name
                                Expect.equal (prefix.Header "X-Kedge-Error-Type") "" "it is no error"
                                let! port = get client "https://port.example:9000/a?q=1" []
                                Expect.equal port.Status 307 name
                                Expect.equal (port.Header "Location") "https://port.example:8443/a" name
                                let! full = get client "https://full.example/a?q=1" []
                                Expect.equal full.Status 302 name
                                Expect.equal (full.Header "Location") "http://full.example/x?q=1" name
                            })

                    do!
                        each (onPlain ()) (fun name client ->
                            task {
                                let! prefix = get client "http://old.example:8080/docs" []
                                Expect.equal (prefix.Header "Location") "http://www.example:8080/new" name
                            })
                })

            case "a fixed answer has its status, headers and body; HEAD has the length alone" (fun () ->
                task {
                    do!
                        each (onTls ()) (fun name client ->
                            task {
                                let! down = get client "https://down.example/any" []
                                Expect.equal (down.Status, down.Body) (503, page) name
                                Expect.equal (down.Header "Retry-After") "600" name
                                Expect.equal (down.Header "Content-Type") "text/html" name
                                Expect.equal (down.Header "x-by") "edge" name
                                Expect.equal (down.Header "X-Kedge-Error") "" "it is no error"
                                let! text = get client "https://text.example/" []
                                Expect.equal (text.Status, text.Body) (200, "hello") name
                                Expect.equal (text.Header "Content-Type") "text/plain; charset=utf-8" name
                                let! empty = get client "https://empty.example/" []
                                Expect.equal (empty.Status, empty.Body) (204, "") name

                                let! head =
                                    send client (new HttpRequestMessage(HttpMethod.Head, "https://text.example/"))

                                Expect.equal (head.Header "Content-Length", head.Body) ("5", "") name
                            })
                })

            case "an answer does not wait for the request's body, and ends an HTTP/1.1 connection" (fun () ->
                task {
                    let forever =
                        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

                    let content =
                        new PushContent(fun stream ->
                            task {
                                do! stream.WriteAsync(ReadOnlyMemory(Array.zeroCreate<byte> 1000))
                                do! stream.FlushAsync()
                                do! forever.Task
                            })

                    use client = Clients.http2 kedge.Value.HttpsPort None

                    let request =
                        new HttpRequestMessage(
                            HttpMethod.Post,
                            "https://text.example/",
                            Content = content,
                            Version = client.DefaultRequestVersion,
                            VersionPolicy = client.DefaultVersionPolicy
                        )

                    let! answer =
                        client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead)
                        |> within "the answer over HTTP/2"

                    Expect.equal (int answer.StatusCode) 200 "HTTP/2"
                    forever.SetResult()

                    use socket =
                        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

                    do! socket.ConnectAsync(IPEndPoint(IPAddress.Loopback, plainPort.Value))
                    use stream = new NetworkStream(socket)

                    let head =
                        "POST /docs HTTP/1.1\r\nHost: old.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

                    do! stream.WriteAsync(ReadOnlyMemory(Encoding.ASCII.GetBytes head))
                    let buffer = Array.zeroCreate<byte> 4096
                    let mutable text = ""
                    let mutable reading = true

                    while reading && not (text.Contains("\r\n\r\n", StringComparison.Ordinal)) do
                        let! count =
                            stream.ReadAsync(buffer.AsMemory()).AsTask()
                            |> within "the answer over HTTP/1.1"

                        text <- text + Encoding.ASCII.GetString(buffer, 0, count)
                        reading <- count > 0

                    Expect.stringStarts text "HTTP/1.1 301 " "HTTP/1.1"
                    Expect.stringContains text "\r\nConnection: close\r\n" "announced"
                })

            case "a fixed answer to gRPC calls" (fun () ->
                task {
                    for port in [ kedge.Value.GrpcPort; kedge.Value.HttpsPort ] do
                        use channel = Clients.grpc port None "down.example"

                        let! answer =
                            status (Echo.EchoClient(channel).UnaryAsync(EchoRequest()).ResponseAsync)

                        Expect.equal answer (StatusCode.Unavailable, "back söon") $"port {port}"
                })

            case "demands are honoured before a fixed answer" (fun () ->
                task {
                    use client = Clients.http1 kedge.Value.HttpsPort None
                    let! answer = get client "https://closed.example/" []
                    Expect.equal answer.Status 403 "no client certificate"
                })

            case "they are counted under names of their own, and named routes under theirs" (fun () ->
                task {
                    use client = Clients.http1 kedge.Value.HttpsPort None
                    let! _ = get client "https://down.example/" []
                    let! _ = get client "https://port.example/" []
                    use debug = new HttpClient()
                    let! text = debug.GetStringAsync(kedge.Value.DebugUrl "/metrics")

                    for series in
                        [
                            "kedge_requests_total{backend_name=\"respond\",code=\"503\",protocol=\"http\"}"
                            "kedge_requests_total{backend_name=\"redirect\",code=\"307\",protocol=\"http\"}"
                            "kedge_route_requests_total{code=\"503\",protocol=\"http\",route=\"maintenance\"}"
                            "net_conntrack_listener_conn_accepted_total{listener_name=\"http_clear\"}"
                        ] do
                        Expect.stringContains text series "there"
                })

            case "the plain listener alone takes connections, whatever the limit on them is" (fun () ->
                task {
                    let port = Ports.free ()

                    use program =
                        new KedgeProgram(
                            [
                                "--server_bind_address=127.0.0.1"
                                "--server_grpc_tls_port=0"
                                "--server_http_tls_port=0"
                                "--server_http_port=0"
                                $"--server_http_plain_port={port}"
                            ]
                        )

                    do!
                        eventually "it listens" (fun () ->
                            program.Output.Contains $":{port} (http_clear)" || program.HasExited)

                    use client =
                        new HttpClient(new SocketsHttpHandler(UseProxy = false, AllowAutoRedirect = false))

                    let! answer = client.GetAsync $"http://127.0.0.1:{port}/" |> within "the answer"
                    Expect.equal answer.StatusCode HttpStatusCode.PermanentRedirect "the default redirect"
                })

            case "a connection that sends nothing is closed" (fun () ->
                task {
                    let port = Ports.free ()

                    use! _own =
                        Kedge.Start(
                            "{}",
                            "{}",
                            [ $"--server_http_plain_port={port}"; "--server_header_timeout=300ms" ]
                        )

                    use socket =
                        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

                    do! socket.ConnectAsync(IPEndPoint(IPAddress.Loopback, port))

                    let! _ =
                        socket.SendAsync(ReadOnlyMemory(Encoding.ASCII.GetBytes "PRI"), SocketFlags.None)

                    let! count =
                        task {
                            try
                                return! socket.ReceiveAsync(Memory(Array.zeroCreate<byte> 10), SocketFlags.None)
                            with :? SocketException ->
                                return 0
                        }
                        |> within "the end of the connection"

                    Expect.equal count 0 "closed"
                })

            case "the plain port alone serves" (fun () ->
                task {
                    let port = Ports.free ()

                    use! _own =
                        Kedge.Start(
                            "{}",
                            "{}",
                            [
                                $"--server_http_plain_port={port}"
                                "--server_grpc_tls_port=0"
                                "--server_http_tls_port=0"
                            ]
                        )

                    use client = new HttpClient(Clients.handler port None)
                    let! answer = get client "http://a.example/x" []
                    Expect.equal (answer.Status, answer.Header "Location") (308, "https://a.example/x") ""
                })

            case "--server_http_plain_default=NO_ROUTE and --server_http_plain_redirect_port" (fun () ->
                task {
                    for flags, expected, location in
                        [
                            [ "--server_http_plain_default=NO_ROUTE" ], 502, ""
                            [ "--server_http_plain_redirect_port=8443" ], 308, "https://a.example:8443/x"
                        ] do
                        let port = Ports.free ()
                        use! _own = Kedge.Start("{}", "{}", $"--server_http_plain_port={port}" :: flags)
                        use client = new HttpClient(Clients.handler port None)
                        let! answer = get client "http://a.example/x" []
                        Expect.equal (answer.Status, answer.Header "Location") (expected, location) $"{flags}"
                })

            case "check finds loops and exposed routes, explain shows the answer, diff the change" (fun () ->
                task {
                    use scratch = new Scratch()

                    let file =
                        scratch.Write(
                            "director.json",
                            Json.director
                                [
                                    """{ "host_matcher": "a.example", "redirect": { "host": "b.example" } }"""
                                    """{ "host_matcher": "b.example", "redirect": { "host": "a.example" } }"""
                                    """{ "host_matcher": "c.example", "redirect": { "scheme": "http" } }"""
                                    """{ "backend_name": "one", "host_matcher": "d.example", "listener": "ANY" }"""
                                    """{ "backend_name": "one", "listener": "PLAIN", "host_matcher": "e.example",
                                         "authorization": { "client_cert_sans": ["c.example"] } }"""
                                ]
                                []
                        )

                    let pool =
                        "--kedge_config_backendpool_config=" + Json.pool [ Json.backend "one" 80 ] []

                    let arguments = [ "check"; "--output=json"; InspectionStage.director file; pool ]

                    let kinds (out: string array) =
                        InspectionStage.items "findings" (InspectionStage.json out)
                        |> List.map (fun f -> InspectionStage.text "kind" f, InspectionStage.text "path" f)
                        |> List.sort

                    let! _, off, _ = InspectionStage.run arguments

                    let expected =
                        [
                            "demand-cannot-be-met", "$.http.routes[4].authorization.client_cert_sans"
                            "plain-exposed-route", "$.http.routes[3]"
                            "plain-exposed-route", "$.http.routes[4]"
                            "redirect-loop", "$.http.routes[0]"
                        ]

                    Expect.equal (kinds off) expected "without the listener"
                    let! _, on, _ = InspectionStage.run (arguments @ [ "--server_http_plain_port=8081" ])
                    Expect.equal (kinds on) (expected @ [ "redirect-loop", "$.http.routes[2]" ]) "through its default"

                    let explain (words: string list) =
                        task {
                            let! code, out, errors =
                                InspectionStage.run ([ "explain" ] @ words @ [ InspectionStage.director file ])

                            Expect.equal (code, errors) (0, [||]) "explained"
                            return String.Join('\n', out)
                        }

                    let! answer = explain [ "GET"; "https://a.example:8443/x?y" ]
                    Expect.stringContains answer "answers: 302 Location: https://b.example:8443/x?y" ""

                    let! byPort =
                        explain [ "GET"; "http://z.example:8081/x"; "--server_http_plain_port=8081" ]

                    Expect.stringContains byPort "answers: 308 Location: https://z.example/x" "the port says it"
                    let! byFlag = explain [ "GET"; "http://d.example/x"; "--listener=plain" ]
                    Expect.stringContains byFlag "backend: one" ""

                    let after =
                        scratch.Write(
                            "after.json",
                            Json.director
                                [
                                    """{ "host_matcher": "d.example", "listener": "ANY", "respond": { "status": 503 } }"""
                                ]
                                []
                        )

                    let before =
                        scratch.Write(
                            "before.json",
                            Json.director
                                [
                                    """{ "host_matcher": "d.example", "listener": "ANY", "backend_name": "one" }"""
                                ]
                                []
                        )

                    let! _, changed, _ = InspectionStage.run [ "diff"; before; after ]
                    let changed = String.Join('\n', changed)
                    Expect.stringContains changed "route-changed" ""
                    Expect.stringContains changed "-> respond 503" "the answer is part of the outcome"
                })

            case "a change of a body file alone is taken over, also when the file appears after a rejection" (fun () ->
                task {
                    use files = new Scratch()

                    let director (file: string) =
                        Json.director [ $$"""{ "respond": { "status": 200, "body_file": {{Json.value file}} } }""" ] []

                    let first = files.Write("first", "one")
                    use! kedge = Kedge.Start(director first, Json.pool [] [], [])
                    use client = Clients.http2 kedge.HttpsPort None
                    let body () = client.GetStringAsync "https://any.example/"
                    do! soon patience "the body at the start" body (fun text -> text = "one")
                    files.Write("first", "two") |> ignore
                    do! soon patience "the changed body" body (fun text -> text = "two")
                    // Rejected: the file does not exist yet.
                    let later = files.File "later"
                    IO.File.WriteAllText(kedge.DirectorFile, director later)
                    do! eventually "the rejection" (fun () -> kedge.Program.Output.Contains "no such file")
                    let! still = body ()
                    Expect.equal still "two" "the previous configuration stays active"
                    files.Write("later", "three") |> ignore
                    do! soon patience "the body that has appeared" body (fun text -> text = "three")
                })

            case "a body file that is not there, or too long, is an error with its place" (fun () ->
                task {
                    use scratch = new Scratch()
                    let long = scratch.Write("long", String('x', 1024 * 1024 + 1))

                    for file, problem in [ "/nowhere/soon.html", "no such file"; long, "at most 1048576 bytes" ] do
                        let director =
                            scratch.Write(
                                "director.json",
                                Json.director
                                    [ $$"""{ "respond": { "status": 503, "body_file": {{Json.value file}} } }""" ]
                                    []
                            )

                        let! code, out, _ =
                            InspectionStage.run [ "check"; InspectionStage.director director ]

                        Expect.equal code 1 file
                        Expect.stringContains out[0] "$.http.routes[0].respond.body_file" file
                        Expect.stringContains out[0] problem file
                })
        ]
