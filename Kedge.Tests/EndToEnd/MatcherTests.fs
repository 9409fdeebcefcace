/// Each condition of a route over HTTP/1.1, HTTP/2 and gRPC, with real callers and backends, and what reports say of it.
module Kedge.Tests.EndToEnd.MatcherTests

open System
open System.Net
open System.Net.Http
open System.Net.WebSockets
open System.Text.Json
open System.Threading
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private routes =
    """{ "http": { "routes": [
  { "name": "www", "backend_name": "one", "host_matcher": "www.shop.example" },
  { "name": "shops", "backend_name": "two", "host_matcher": "*.shop.example" },
  { "name": "orders-write", "backend_name": "one", "host_matcher": "methods.example", "methods": ["POST", "PUT"] },
  { "name": "orders-read", "backend_name": "two", "host_matcher": "methods.example", "methods": ["GET"] },
  { "backend_name": "one", "host_matcher": "query.example", "query_matcher": { "v": "2", "colour": "dark blue" } },
  { "backend_name": "two", "host_matcher": "query.example" },
  { "backend_name": "one", "host_matcher": "headers.example", "header_matcher": { "x-debug": { "present": true } } },
  { "backend_name": "two", "host_matcher": "headers.example",
    "header_matcher": { "authorization": { "prefix": "Bearer " } } },
  { "backend_name": "three", "host_matcher": "headers.example" },
  { "backend_name": "one", "host_matcher": "tree.example", "path_rules": ["/orders/**"] }
] },
"grpc": { "routes": [
  { "name": "calls", "backend_name": "calls", "authority_host_matcher": "*.calls.example",
    "metadata_matcher": { "x-debug": { "present": true } } },
  { "backend_name": "other", "authority_host_matcher": "*.calls.example",
    "metadata_matcher": { "authorization": { "prefix": "Bearer " } } }
] } }"""

let private webPeer = Shared.make (fun () -> new HttpPeer "web")
let private callPeer = Shared.make (fun () -> new GrpcPeer "calls")

let private kedge =
    Shared.make (fun () ->
        let pool =
            Json.pool
                [
                    for name in [ "one"; "two"; "three" ] -> Json.backend name webPeer.Value.Port
                ]
                [ for name in [ "calls"; "other" ] -> Json.backend name callPeer.Value.Port ]

        Kedge.Start(routes, pool, [ "--access_log" ]).GetAwaiter().GetResult())

let private clients =
    lazy
        [
            "HTTP/1.1", Clients.http1 kedge.Value.HttpsPort None
            "HTTP/2", Clients.http2 kedge.Value.HttpsPort None
        ]

/// Over both protocols, each request reaches the backend named; "" = kedge answers that there is no route.
let private goesTo (requests: (string * string * (string * string) list * string) list) =
    task {
        for protocol, client in clients.Value do
            for method, url, headers, backend in requests do
                let request = new HttpRequestMessage(HttpMethod method, $"https://{url}")

                for name, value in headers do
                    request.Headers.TryAddWithoutValidation(name, value) |> ignore

                let! answer = send client request
                let got = answer.Header "X-Kedge-Backend-Name", answer.Header "X-Kedge-Error-Type"
                let expected = backend, (if backend = "" then "no-route" else "")
                Expect.equal got expected $"{protocol}: {method} {url} {headers}"
    }

[<Tests>]
let requests =
    testList
        "matchers, end to end"
        [
            case "a wildcard host takes names with one or more labels before it; the first route wins" (fun () ->
                goesTo
                    [
                        "GET", "www.shop.example/", [], "one"
                        "GET", "a.shop.example/", [], "two"
                        "GET", "A.B.Shop.Example./", [], "two"
                        "GET", "shop.example/", [], ""
                        "GET", "xshop.example/", [], ""
                    ])

            case "methods are compared as they are, and one that no route takes is not a 405" (fun () ->
                goesTo
                    [
                        "POST", "methods.example/", [], "one"
                        "PUT", "methods.example/", [], "one"
                        "GET", "methods.example/", [], "two"
                        "HEAD", "methods.example/", [], ""
                        "DELETE", "methods.example/", [], ""
                    ])

            case
                "query parameters are compared decoded, the first of a name counts, and the query passes as it is"
                (fun () ->
                    task {
                        let query = $"x={Guid.NewGuid():N}&v=2&colour=dark+blue&v=3"

                        do!
                            goesTo
                                [
                                    "GET", "query.example/?v=2&colour=dark%20blue", [], "one"
                                    "GET", $"query.example/?{query}", [], "one"
                                    "GET", "query.example/?v=3&v=2&colour=dark%20blue", [], "two"
                                    "GET", "query.example/?v=2", [], "two"
                                    "GET", "query.example/", [], "two"
                                ]

                        let sent =
                            webPeer.Value.Received |> Seq.filter (fun r -> r.RawTarget = $"/?{query}")

                        Expect.equal (Seq.length sent) 2 "untouched"
                    })

            case "a header is present, also when it is empty, or has a value with a prefix" (fun () ->
                goesTo
                    [
                        "GET", "headers.example/", [ "X-Debug", "" ], "one"
                        "GET", "headers.example/", [ "x-debug", "0" ], "one"
                        "GET", "headers.example/", [ "Authorization", "Bearer t" ], "two"
                        "GET", "headers.example/", [ "Authorization", "bearer t" ], "three"
                        "GET", "headers.example/", [], "three"
                    ])

            case "`/orders/**` takes the path itself and everything below it" (fun () ->
                goesTo
                    [
                        "GET", "tree.example/orders", [], "one"
                        "GET", "tree.example/orders/", [], "one"
                        "GET", "tree.example/orders/7/lines", [], "one"
                        "GET", "tree.example/orders2", [], ""
                        "GET", "tree.example/", [], ""
                    ])

            case "a WebSocket over HTTP/2 counts as GET, as over HTTP/1.1" (fun () ->
                task {
                    for version in [ HttpVersion.Version11; HttpVersion.Version20 ] do
                        let path = $"/{Guid.NewGuid():N}"
                        webPeer.Value.OnWebSocketEcho path
                        use limit = new CancellationTokenSource(patience)
                        use socket = new ClientWebSocket()
                        socket.Options.HttpVersion <- version
                        socket.Options.HttpVersionPolicy <- HttpVersionPolicy.RequestVersionExact
                        use invoker = new HttpMessageInvoker(Clients.handler kedge.Value.HttpsPort None)
                        do! socket.ConnectAsync(Uri $"wss://methods.example{path}", invoker, limit.Token)
                        do! socket.SendAsync(ArraySegment [| 7uy |], WebSocketMessageType.Binary, true, limit.Token)
                        let buffer = Array.zeroCreate<byte> 8
                        let! got = socket.ReceiveAsync(ArraySegment buffer, limit.Token)
                        Expect.equal (got.Count, buffer[0]) (1, 7uy) $"{version}"
                        do! socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "enough", limit.Token)
                })

            case "gRPC: wildcard authorities, metadata that is present or has a prefix" (fun () ->
                task {
                    let call (authority: string) (metadata: (string * string) list) =
                        task {
                            use channel = Clients.grpc kedge.Value.GrpcPort None authority
                            let entries = Metadata()

                            for key, value in metadata do
                                entries.Add(key, value)

                            use call = Echo.EchoClient(channel).UnaryAsync(EchoRequest(), entries)

                            try
                                let! headers = call.ResponseHeadersAsync
                                let! _ = call.ResponseAsync
                                return headers.GetValue "x-kedge-backend-name"
                            with :? RpcException as error ->
                                return $"{error.StatusCode}"
                        }

                    for authority, metadata, expected in
                        [
                            "a.calls.example", [ "x-debug", "1" ], "calls"
                            "a.b.calls.example:443", [ "x-debug", "1" ], "calls"
                            "a.calls.example", [ "authorization", "Bearer t" ], "other"
                            "a.calls.example", [ "authorization", "Basic t" ], "Unimplemented"
                            "calls.example", [ "x-debug", "1" ], "Unimplemented"
                        ] do
                        let! got = call authority metadata
                        Expect.equal (string got) expected $"{authority} {metadata}"
                })
        ]

[<Tests>]
let reports =
    testList
        "matchers in reports"
        [
            case "a route's name is in its metrics, its log lines and on the status page" (fun () ->
                task {
                    use peer = new HttpPeer "named"
                    use calls = new GrpcPeer "named"

                    let director =
                        Json.director
                            [
                                """{ "name": "shop-web", "backend_name": "named", "host_matcher": "web.example" }"""
                                """{ "backend_name": "named", "host_matcher": "anonymous.example" }"""
                            ]
                            [
                                """{ "name": "shop-calls", "backend_name": "named",
                                     "authority_host_matcher": "web.example" }"""
                            ]

                    let pool =
                        Json.pool [ Json.backend "named" peer.Port ] [ Json.backend "named" calls.Port ]

                    use! kedge = Kedge.Start(director, pool, [ "--access_log" ])
                    use client = Clients.http2 kedge.HttpsPort None
                    let! _ = get client "https://web.example/a" []
                    let! _ = get client "https://web.example/b" []
                    let! _ = get client "https://anonymous.example/c" []
                    use channel = Clients.grpc kedge.GrpcPort None "web.example"
                    let! _ = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"))
                    let! samples = DebugPort.samples kedge

                    let named =
                        samples
                        |> List.filter (fun sample -> sample.Name = "kedge_route_requests_total")
                        |> List.map (fun sample ->
                            (sample.Labels["protocol"], sample.Labels["route"], sample.Labels["code"]), sample.Value)

                    Expect.equal
                        (List.sort named)
                        [ ("grpc", "shop-calls", "OK"), 1.0; ("http", "shop-web", "200"), 2.0 ]
                        "named routes only"

                    let! timed =
                        DebugPort.metric kedge "kedge_route_request_duration_seconds_count" [ "route", "shop-web" ]

                    Expect.equal timed 2.0 "durations"
                    let! status = DebugPort.text kedge "/debug/status?format=json"
                    Expect.stringContains status "shop-web: host=web.example" "the status page"

                    let lines () =
                        [
                            for line in kedge.Program.Stderr do
                                if line.StartsWith '{' then
                                    let entry = JsonDocument.Parse(line).RootElement

                                    if text "logger" entry = "kedge.requests" then
                                        let fields = entry.GetProperty "fields"
                                        text "Path" fields, text "Route" fields
                        ]

                    do! eventually "the lines" (fun () -> (lines ()).Length = 4)
                    Expect.contains (lines ()) ("/a", "shop-web") "named"
                    Expect.contains (lines ()) ("/c", "") "anonymous"
                    Expect.contains (lines ()) ("/kedge.test.Echo/Unary", "shop-calls") "a gRPC call"
                })

            case "explain names the condition that fails" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", routes)

                    for arguments, reason in
                        [
                            [ "DELETE"; "https://methods.example/" ], "no, method is DELETE, not POST or PUT"
                            [ "GET"; "https://query.example/?v=3&colour=dark+blue" ], "no, query v is 3, not 2"
                            [ "GET"; "https://headers.example/" ], "no, header x-debug is absent"
                            [ "GET"; "https://headers.example/"; "-H"; "authorization: Basic x" ],
                            "header authorization is Basic x, not Bearer *"
                            [ "GET"; "https://tree.example/orders2" ], "no, path is /orders2, not /orders/**"
                            [ "GET"; "https://a.shop.example/" ], "(shops: host=*.shop.example): yes"
                        ] do
                        let! code, out, errors = run ([ "explain" ] @ arguments @ [ director file ])
                        Expect.equal (code, errors) (0, [||]) $"{arguments}"
                        Expect.stringContains (String.Join('\n', out)) reason $"{arguments}"

                    let wildcard = Json.director [ Json.httpRoute "aa" "*.shop.example" ] []

                    let! _, out, _ =
                        run
                            [
                                "explain"
                                "GET"
                                "https://shop.example/"
                                "--kedge_config_director_config=" + wildcard
                            ]

                    Expect.stringContains
                        (String.Join('\n', out))
                        "no, host shop.example has no label before .shop.example"
                        "the name itself"
                })

            case
                "check: a prefix without its root, a wildcard before a host, and the move that cures a hidden route"
                (fun () ->
                    task {
                        use scratch = new Scratch()

                        let file =
                            scratch.Write(
                                "director.json",
                                """{ "http": { "routes": [
{ "backend_name": "aa", "host_matcher": "*.shop.example", "path_rules": ["/api/*"] },
{ "backend_name": "bb", "host_matcher": "www.shop.example" },
{ "name": "wide", "backend_name": "aa", "host_matcher": "*.old.example" },
{ "name": "hidden", "backend_name": "bb", "host_matcher": "a.old.example", "methods": ["PUT"] }
] } }"""
                            )

                        let pool = Json.pool [ Json.backend "aa" 80; Json.backend "bb" 81 ] []

                        let! code, out, errors =
                            run [ "check"; director file; "--kedge_config_backendpool_config=" + pool ]

                        Expect.equal (code, errors) (0, [||]) "a warning and notes"
                        let out = String.Join('\n', out)

                        for part in
                            [
                                $"{file}:2: $.http.routes[0].path_rules[0]: note prefix-misses-root:"
                                "    GET https://any.shop.example/api"
                                $"{file}:3: $.http.routes[1]: note wildcard-before-host:"
                                "    GET https://www.shop.example/api/x"
                                $"{file}:5: $.http.routes[3]: warning shadowed-route:"
                                "    cure: move it before $.http.routes[2] (wide: host=*.old.example)"
                                "      PUT https://a.old.example/x"
                            ] do
                            Expect.stringContains out part "finding"

                        // The cure does what its report says, and nothing more.
                        let lines = IO.File.ReadAllLines file

                        let moved =
                            [|
                                lines[0]
                                lines[1]
                                lines[2]
                                lines[4] + ","
                                lines[3].TrimEnd ','
                                lines[5]
                            |]

                        let cured = scratch.Write("cured.json", String.Join('\n', moved))

                        let! _, out, _ =
                            run [ "check"; director cured; "--kedge_config_backendpool_config=" + pool ]

                        Expect.isFalse (String.Join('\n', out).Contains "shadowed-route") "cured"
                        let! _, out, _ = run [ "diff"; "--output=json"; file; cured ]
                        let difference = List.exactlyOne (items "differences" (json out))
                        Expect.equal (text "request" difference) "PUT https://a.old.example/x" "the same request moves"
                    })

            case "diff pairs routes by their names" (fun () ->
                task {
                    use scratch = new Scratch()

                    let route name host =
                        $$"""{ "name": "{{name}}", "backend_name": "aa", "host_matcher": "{{host}}" }"""

                    let before =
                        scratch.Write(
                            "old.json",
                            Json.director [ route "one" "a.example"; route "two" "b.example" ] []
                        )

                    let after =
                        scratch.Write(
                            "new.json",
                            Json.director [ route "two" "*.b.example"; route "one" "a.example" ] []
                        )

                    let! code, out, _ = run [ "diff"; "--output=json"; before; after ]
                    Expect.equal code 0 "exit code"
                    let difference = List.exactlyOne (items "differences" (json out))
                    Expect.equal (text "kind" difference) "route-changed" "moved and changed is changed"

                    Expect.equal
                        (text "request" difference)
                        "GET https://any.b.example/x"
                        "a request that goes elsewhere"
                })
        ]
