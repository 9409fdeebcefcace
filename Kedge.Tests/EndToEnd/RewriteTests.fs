/// What routes change about requests and responses, over HTTP/1.1, HTTP/2 and gRPC with real callers and backends.
module Kedge.Tests.EndToEnd.RewriteTests

open System
open System.Net.Http
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.Authorization
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http

let private routes =
    """{ "http": { "routes": [
  { "backend_name": "web", "host_matcher": "prefix.example", "path_rules": ["/api/*"],
    "rewrite": { "replace_prefix": "/v1/", "host": "Shop.internal:8080", "reverse_location": true } },
  { "backend_name": "web", "host_matcher": "strip.example", "path_rules": ["/api/**"],
    "rewrite": { "replace_prefix": "" } },
  { "backend_name": "web", "host_matcher": "full.example", "rewrite": { "replace_full": "/landing" } },
  { "name": "headed", "backend_name": "web", "host_matcher": "headers.example",
    "request_headers": {
      "set": { "X-Env": "prod", "x-where": "{client_address}", "x-id": "{request_id}", "x-route": "{route} of {host}",
               "x-user": "{token_subject}", "x-san": "{client_san}", "content-language": "en" },
      "add": { "x-trace": "edge" }, "remove": ["X-Debug"] },
    "response_headers": { "set": { "cache-control": "no-store" }, "add": { "x-peer": "edge" }, "remove": ["x-secret"] } },
  { "backend_name": "dead", "host_matcher": "dead.example",
    "response_headers": { "set": { "cache-control": "no-store" } } },
  { "backend_name": "web", "host_matcher": "long.example", "path_rules": ["/**"],
    "rewrite": { "replace_prefix": "/0123456789012345678901234567890123456789012345678901234567890123456789" } }
] },
"grpc": { "routes": [
  { "name": "calls", "backend_name": "calls", "authority_host_matcher": "calls.example",
    "rewrite": { "host": "echo.internal" },
    "request_headers": { "set": { "x-env": "prod", "x-route": "{route}", "x-user": "{token_subject}" },
                         "add": { "x-trace": "edge" }, "remove": ["x-debug"] },
    "response_headers": { "set": { "x-cache": "none" }, "add": { "x-peer": "edge" } } }
] } }"""

let private webPeer = Shared.make (fun () -> new HttpPeer "web")
let private callPeer = Shared.make (fun () -> new GrpcPeer "calls")

let private kedge =
    Shared.make (fun () ->
        let pool =
            Json.pool
                [ Json.backend "web" webPeer.Value.Port; Json.backend "dead" (Ports.free ()) ]
                [ Json.backend "calls" callPeer.Value.Port ]

        // A request line of at most 4,096 characters.
        Kedge.Start(routes, pool, [ "--server_max_header_bytes=16384" ]).GetAwaiter().GetResult())

let private clients =
    lazy
        [
            "HTTP/1.1", Clients.http1 kedge.Value.HttpsPort None
            "HTTP/2", Clients.http2 kedge.Value.HttpsPort None
        ]

let private eachProtocol (test: string -> HttpClient -> Task<unit>) =
    task {
        for protocol, client in clients.Value do
            do! test protocol client
    }

/// Part of a path that no other request has.
let private unique () = Guid.NewGuid().ToString "N"

[<Tests>]
let requests =
    testList
        "rewrites, end to end"
        [
            case "a prefix is replaced, the query stays, and the backend sees another host" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let id = unique ()
                        let! answer = get client $"https://prefix.example/api/%%7e{id}/x%%2Fy?a=%%20b&c" []
                        Expect.equal answer.Status 200 protocol
                        let got = webPeer.Value.One $"/v1/~{id}/x%%2Fy"
                        Expect.equal got.RawTarget $"/v1/~{id}/x%%2Fy?a=%%20b&c" "the query is untouched"
                        Expect.equal (got.Header "Host") "shop.internal:8080" "host"
                        Expect.equal (got.Header "X-Forwarded-Host") "prefix.example" "the caller's host"
                    }))

            case "a prefix is removed, and `/api` itself becomes `/`" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let id = unique ()
                        let! _ = get client $"https://strip.example/api/{id}" []
                        Expect.equal (webPeer.Value.One $"/{id}").Method "GET" protocol
                        let! _ = get client $"https://strip.example/api?{id}" []

                        Expect.equal
                            (webPeer.Value.Received
                             |> Seq.filter (fun got -> got.RawTarget = $"/?{id}")
                             |> Seq.length)
                            1
                            $"{protocol}: the root"
                    }))

            case "a whole path is replaced" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let id = unique ()
                        let! _ = get client $"https://full.example/any/path?{id}" []

                        Expect.exists
                            webPeer.Value.Received
                            (fun got -> got.RawTarget = $"/landing?{id}" && got.Header "Host" = "full.example")
                            protocol
                    }))

            case "locations and cookie paths of the backend are changed back" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let id = unique ()

                        webPeer.Value.On(
                            $"/v1/{id}",
                            fun context ->
                                context.Response.StatusCode <- 302
                                context.Response.Headers.Location <- $"http://shop.internal:8080/v1/next?a#b"
                                context.Response.Headers.ContentLocation <- "/v1/same"

                                context.Response.Headers.SetCookie <-
                                    Microsoft.Extensions.Primitives.StringValues
                                        [| "a=/v1; Path=/v1; HttpOnly"; "b=c; Path=/other" |]

                                Task.CompletedTask
                        )

                        let! answer = get client $"https://prefix.example/api/{id}" []
                        Expect.equal answer.Status 302 protocol
                        Expect.equal (answer.Header "Location") "https://prefix.example/api/next?a#b" protocol
                        Expect.equal (answer.Header "Content-Location") "/api/same" protocol

                        Expect.equal
                            (List.ofSeq (answer.Message.Headers.GetValues "Set-Cookie"))
                            [ "a=/v1; Path=/api; HttpOnly"; "b=c; Path=/other" ]
                            protocol
                    }))

            case "headers are set, added and removed in both directions, and nothing absent can be forged" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let id = unique ()

                        webPeer.Value.On(
                            $"/{id}",
                            fun context ->
                                context.Response.Headers["X-Peer"] <- "web"
                                context.Response.Headers["X-Secret"] <- "1"
                                context.Response.Headers.CacheControl <- "public"
                                context.Response.WriteAsync "ok"
                        )

                        let request =
                            new HttpRequestMessage(
                                HttpMethod.Post,
                                $"https://headers.example/{id}",
                                Content = new StringContent "x"
                            )

                        for name, value in
                            [
                                "x-env", "test"
                                "x-trace", "caller"
                                "x-debug", "1"
                                "x-user", "forged"
                                "x-san", "forged"
                                "x-where", "6.6.6.6"
                                "X-Kedge-Request-ID", id
                            ] do
                            request.Headers.TryAddWithoutValidation(name, value) |> ignore

                        let! answer = send client request
                        Expect.equal (answer.Status, answer.Body) (200, "ok") protocol
                        let got = webPeer.Value.One $"/{id}"

                        for name, values in
                            [
                                "x-env", [ "prod" ]
                                "x-trace", [ "caller"; "edge" ]
                                "x-debug", []
                                "x-user", []
                                "x-san", []
                                "x-where", [ "127.0.0.1" ]
                                "x-id", [ id ]
                                "x-route", [ "headed of headers.example" ]
                                "content-language", [ "en" ]
                            ] do
                            let sent =
                                got.Values name |> List.collect (fun text -> List.ofArray (text.Split ", "))

                            Expect.equal sent values $"{protocol}: {name}"

                        Expect.equal (answer.Header "Cache-Control") "no-store" protocol
                        Expect.equal (answer.Header "X-Peer") "web, edge" protocol
                        Expect.equal (answer.Header "X-Secret") "" protocol
                    }))

            case "replies of kedge itself stay as they are" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let! answer = get client "https://dead.example/" []
                        Expect.equal answer.Status 502 protocol
                        Expect.equal (answer.Header "Cache-Control") "" protocol
                    }))

            case "a URL that a rewrite makes too long is refused with 414" (fun () ->
                eachProtocol (fun protocol client ->
                    task {
                        let fits, tooLong = String('a', 4020), String('a', 4040)
                        let! answer = get client $"https://long.example/{fits}" []
                        Expect.equal answer.Status 200 protocol
                        let! answer = get client $"https://long.example/{tooLong}" []
                        Expect.equal (answer.Status, answer.Header "X-Kedge-Error-Type") (414, "bad-request") protocol
                    }))

            case "gRPC: the backend sees another authority and other metadata" (fun () ->
                task {
                    for port, number in [ "gRPC port", kedge.Value.GrpcPort; "HTTPS port", kedge.Value.HttpsPort ] do
                        let id = unique ()
                        use channel = Clients.grpc number None "calls.example"
                        let metadata = Metadata()

                        for key, value in
                            [
                                "x-id", id
                                "x-env", "test"
                                "x-debug", "1"
                                "x-user", "forged"
                                "x-trace", "caller"
                            ] do
                            metadata.Add(key, value)

                        use call = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"), metadata)
                        let! headers = call.ResponseHeadersAsync
                        let! reply = call.ResponseAsync
                        Expect.equal (reply.Text, reply.Authority) ("x", "echo.internal") port
                        let got = callPeer.Value.CallWith("x-id", id)
                        let values name = got.Metadata |> List.filter (fun (key, _) -> key = name) |> List.map snd
                        Expect.equal (values "x-env") [ "prod" ] port
                        Expect.equal (values "x-route") [ "calls" ] port
                        Expect.equal (values "x-debug", values "x-user") ([], []) port
                        // In one field or two: what gRPC's server makes of them is the same.
                        let traces =
                            String.Join(',', values "x-trace").Split(',', StringSplitOptions.TrimEntries)

                        Expect.equal traces [| "caller"; "edge" |] port
                        Expect.equal (headers.GetValue "x-cache") "none" port

                        Expect.equal
                            [ for entry in headers.GetAll "x-peer" -> entry.Value ]
                            [ "calls"; "edge" ]
                            "initial metadata"
                })

            case "the caller's certificate and token, and the address that trusted proxies report" (fun () ->
                task {
                    use peer = new HttpPeer "who"
                    use issuer = new Issuer()

                    let who host authorization =
                        $$"""{ "backend_name": "who", "host_matcher": "{{host}}", "authorization": {{authorization}},
                               "request_headers": { "set": { "x-user": "{token_subject}", "x-san": "{client_san}",
                                                             "x-where": "{client_address}" } } }"""

                    let director =
                        Json.director [ who "who.example" "{}"; who "open.example" """{ "anonymous": true }""" ] []

                    let flags =
                        [
                            yield! issuer.Flags
                            $"--server_tls_client_ca_files={Certificates.authority.Value.File}"
                            "--server_tls_client_cert_required=false"
                            "--trusted_proxies=127.0.0.0/8,10.0.0.0/8"
                        ]

                    use! kedge =
                        Kedge.Start(director, Json.pool [ Json.backend "who" peer.Port ] [], flags)

                    let identity =
                        Certificates.authority.Value.ClientNamed [ "agent.example"; "spiffe://td/agent" ]

                    use client = Clients.http2 kedge.HttpsPort (Some identity)
                    let token = "Proxy-Authorization", $"Bearer {(issuer.Token []).Text}"
                    let forged = [ "x-user", "root"; "x-san", "root" ]
                    let chain = "X-Forwarded-For", "6.6.6.6, 203.0.113.7, 10.1.2.3"
                    let! answer = get client "https://who.example/known" (token :: chain :: forged)
                    Expect.equal answer.Status 200 answer.Body
                    let got = peer.One "/known"
                    Expect.equal (got.Values "x-user") [ "tester" ] "the subject"
                    Expect.equal (got.Values "x-san") [ "agent.example" ] "the first name"
                    Expect.equal (got.Values "x-where") [ "203.0.113.7" ] "the last address that is not a proxy"
                    use anonymous = Clients.http1 kedge.HttpsPort None
                    let! answer = get anonymous "https://open.example/unknown" (token :: forged)
                    Expect.equal answer.Status 200 answer.Body
                    let got = peer.One "/unknown"
                    Expect.equal (got.Values "x-user") [] "the token was not verified"
                    Expect.equal (got.Values "x-san") [] "no certificate"
                })
        ]

[<Tests>]
let reports =
    testList
        "rewrites in reports"
        [
            case "explain prints the request as the backend sees it" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", routes)

                    for arguments, line in
                        [
                            [ "GET"; "https://prefix.example/api/x?y=z" ],
                            "  forwards: GET /v1/x?y=z, Host shop.internal:8080"
                            [ "POST"; "https://headers.example/" ],
                            "  forwards: POST /, without x-debug, x-env: prod, content-language: en, "
                            + "x-id: {request_id}, x-route: headed of headers.example, x-san: {client_san}, "
                            + "x-user: {token_subject}, x-where: {client_address}, also x-trace: edge"
                            [ "POST"; "https://calls.example/p.S/M"; "--grpc" ],
                            "  forwards: POST /p.S/M, Host echo.internal, without x-debug, x-env: prod, x-route: calls, "
                            + "x-user: {token_subject}, also x-trace: edge"
                        ] do
                        let! code, out, errors = run ([ "explain" ] @ arguments @ [ director file ])
                        Expect.equal (code, errors) (0, [||]) $"{arguments}"
                        Expect.contains out line $"{arguments}"
                })

            case "check and diff: a rewrite without effect, one path from two routes, both forwarded forms" (fun () ->
                task {
                    use scratch = new Scratch()

                    let file prefix =
                        $$"""{ "http": { "routes": [
{ "backend_name": "aa", "host_matcher": "a.example", "path_rules": ["/same/**"], "rewrite": { "replace_prefix": "/same" } },
{ "backend_name": "bb", "host_matcher": "a.example", "path_rules": ["/old/**"], "rewrite": { "replace_prefix": "/v1" } },
{ "backend_name": "bb", "host_matcher": "a.example", "path_rules": ["/new/**"], "rewrite": { "replace_prefix": "{{prefix}}" } }
] } }"""

                    let before = scratch.Write("old.json", file "/v1/x")
                    let after = scratch.Write("new.json", file "/v2")
                    let pool = Json.pool [ Json.backend "aa" 80; Json.backend "bb" 81 ] []

                    let! code, out, _ =
                        run
                            [
                                "check"
                                "--output=json"
                                director before
                                "--kedge_config_backendpool_config=" + pool
                            ]

                    Expect.equal code 0 "a warning and a note"
                    let findings = items "findings" (json out)

                    Expect.equal
                        [ for finding in findings -> text "kind" finding, text "path" finding ]
                        [
                            "rewrite-without-effect", "$.http.routes[0].rewrite.replace_prefix"
                            "same-path-from-two-routes", "$.http.routes[2]"
                        ]
                        "findings"

                    Expect.equal
                        [ for witness in items "witnesses" findings[1] -> witness.GetString() ]
                        [ "GET https://a.example/new"; "GET https://a.example/old/x" ]
                        "two requests"

                    let! _, out, _ =
                        run [ "check"; director after; "--kedge_config_backendpool_config=" + pool ]

                    Expect.isFalse (String.Join('\n', out).Contains "same-path") "no longer"
                    let! _, out, _ = run [ "diff"; before; after ]
                    let out = String.Join('\n', out)
                    Expect.stringContains out "route-changed" "the filters are part of what a route does"
                    Expect.stringContains out "-> bb, which sees GET /v1/x" "before"
                    Expect.stringContains out "-> bb, which sees GET /v2" "after"
                })
        ]
