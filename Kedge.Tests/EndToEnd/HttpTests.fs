module Kedge.Tests.EndToEnd.HttpTests

open System
open System.Net.Http
open System.Security.Cryptography
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// A path that no other test asks for.
let private unique () = $"/{Guid.NewGuid():N}"

[<Tests>]
let forwarding =
    testList
        "HTTP forwarding"
        [
            case "a request reaches the backend of its route and comes back with the backend's name" (fun () ->
                task {
                    for protocol, client in httpClients () do
                        let path = unique ()
                        let! answer = get client $"https://alpha.example{path}?q=a%%20b&r" []
                        Expect.equal answer.Status 200 protocol
                        Expect.equal answer.Body "alpha" protocol
                        Expect.equal (answer.Header "X-Kedge-Backend-Name") "alpha" protocol
                        Expect.equal (answer.Header "X-Peer") "alpha" "the backend's own headers come back"
                        let got = alpha.Value.One path
                        Expect.equal got.RawTarget $"{path}?q=a%%20b&r" "the query is untouched"
                        Expect.equal (got.Header "Host") "alpha.example" "the backend sees the caller's host"
                        Expect.equal got.Protocol "HTTP/1.1" "clear text backends get HTTP/1.1"
                })

            case "a body arrives whole, with or without a length" (fun () ->
                task {
                    let body = RandomNumberGenerator.GetBytes 300_000
                    let hash = Convert.ToHexStringLower(SHA256.HashData body)

                    for protocol, client in httpClients () do
                        for chunked in [ false; true ] do
                            let path = unique ()

                            let content = Clients.body chunked body

                            let! answer =
                                send
                                    client
                                    (new HttpRequestMessage(
                                        HttpMethod.Put,
                                        $"https://alpha.example{path}",
                                        Content = content
                                    ))

                            Expect.equal answer.Status 200 $"{protocol}, chunked={chunked}"
                            let got = alpha.Value.One path
                            Expect.equal (got.Method, got.BodyLength, got.BodyHash) ("PUT", 300_000L, hash) protocol
                })

            case "the path that the backend sees is canonical: dot segments are gone, %2F is kept" (fun () ->
                task {
                    let tail = unique ()
                    use! client = RawClient.Connect kedge.Value.HttpsPort

                    do!
                        client.Write
                            $"GET /api/./x/../y%%2Fz{tail} HTTP/1.1\r\nHost: paths.example\r\nConnection: close\r\n\r\n"

                    let! text = client.ReadToEnd()
                    Expect.stringStarts text "HTTP/1.1 200" "status"
                    let got = alpha.Value.One $"/api/y%%2Fz{tail}"
                    Expect.equal got.Method "GET" "method"
                })

            case "hop-by-hop and Proxy-* headers stay behind, the others pass" (fun () ->
                task {
                    let path = unique ()

                    let! answer =
                        get
                            (http1 ())
                            $"https://alpha.example{path}"
                            [
                                "Connection", "X-Private"
                                "X-Private", "1"
                                "Keep-Alive", "timeout=5"
                                "TE", "trailers"
                                "Proxy-Authorization", "Bearer secret"
                                "Proxy-Connection", "keep-alive"
                                "Authorization", "Bearer for-the-backend"
                                "X-Public", "2"
                                "User-Agent", "tests/1"
                            ]

                    Expect.equal answer.Status 200 "status"
                    let got = alpha.Value.One path

                    for name in [ "X-Private"; "Keep-Alive"; "Proxy-Authorization"; "Proxy-Connection" ] do
                        Expect.equal (got.Values name) [] name

                    Expect.equal (got.Values "Authorization") [ "Bearer for-the-backend" ] "Authorization"
                    Expect.equal (got.Values "X-Public") [ "2" ] "X-Public"
                    Expect.equal (got.Values "User-Agent") [ "tests/1" ] "the user agent is not doubled"
                })

            case "X-Forwarded-* come from the connection, not from the caller" (fun () ->
                task {
                    let path = unique ()

                    let! _ =
                        get
                            (http1 ())
                            $"https://alpha.example:8443{path}"
                            [
                                "X-Forwarded-For", "6.6.6.6"
                                "X-Forwarded-Proto", "http"
                                "X-Forwarded-Host", "evil.example"
                            ]

                    let got = alpha.Value.One path
                    Expect.equal (got.Header "X-Forwarded-For") "127.0.0.1" "for"
                    Expect.equal (got.Header "X-Forwarded-Proto") "https" "proto"
                    Expect.equal (got.Header "X-Forwarded-Host") "alpha.example:8443" "host"
                })

            case "a request id is made when there is none and kept when there is one" (fun () ->
                task {
                    let path = unique ()
                    let! made = get (http2 ()) $"https://alpha.example{path}" []
                    let id = made.Header "X-Kedge-Request-ID"
                    Expect.isNotEmpty id "made"
                    Expect.equal ((alpha.Value.One path).Header "X-Kedge-Request-ID") id "forwarded"
                    let path = unique ()

                    let! kept =
                        get (http2 ()) $"https://alpha.example{path}" [ "X-Kedge-Request-ID", "given-1" ]

                    Expect.equal (kept.Header "X-Kedge-Request-ID") "given-1" "returned"
                    Expect.equal ((alpha.Value.One path).Values "X-Kedge-Request-ID") [ "given-1" ] "forwarded"
                })

            case "what a HEAD, a 304 and a 404 of the backend say passes through" (fun () ->
                task {
                    alpha.Value.On(
                        "/status",
                        fun context ->
                            task {
                                context.Response.StatusCode <- int (string context.Request.Query["code"])
                                context.Response.Headers.ETag <- "\"v1\""
                            }
                    )

                    for code in [ 204; 304; 404; 418; 500 ] do
                        let! answer = get (http1 ()) $"https://alpha.example/status?code={code}" []
                        Expect.equal answer.Status code "status"
                        Expect.equal (answer.Header "ETag") "\"v1\"" "header"
                        Expect.equal (answer.Header "X-Kedge-Error") "" "not kedge's own answer"

                    let! head =
                        send (http1 ()) (new HttpRequestMessage(HttpMethod.Head, $"https://alpha.example{unique ()}"))

                    Expect.equal (head.Status, head.Body) (200, "") "HEAD"
                })
        ]

[<Tests>]
let routing =
    let goesTo backend (client: HttpClient) url headers =
        task {
            let! answer = get client url headers
            Expect.equal (answer.Status, answer.Header "X-Kedge-Backend-Name") (200, backend) $"{url} %A{headers}"
        }

    let noRoute (client: HttpClient) url headers =
        task {
            let! answer = get client url headers
            Expect.equal (answer.Status, answer.Header "X-Kedge-Error-Type") (502, "no-route") $"{url} %A{headers}"
        }

    /// The whole answer to a request with this target and host, as they stand.
    let raw (target: string) (host: string) =
        task {
            use! client = RawClient.Connect kedge.Value.HttpsPort
            do! client.Write $"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            return! client.ReadToEnd()
        }

    testList
        "HTTP routing"
        [
            case "by host, whatever its case and with a trailing dot" (fun () ->
                task {
                    for _, client in httpClients () do
                        do! goesTo "beta" client "https://beta.example/" []
                        do! noRoute client "https://gamma.example/" []

                    let! text = raw "/" "BETA.Example."
                    Expect.stringContains text "X-Kedge-Backend-Name: beta" "raw"
                })

            case "by port; an authority without one stands for 80 and 443" (fun () ->
                task {
                    do! goesTo "alpha" (http1 ()) "https://ports.example:8081/" []
                    do! goesTo "beta" (http1 ()) "https://ports.example/" []
                    do! noRoute (http1 ()) "https://ports.example:8082/" []
                })

            case "by path: prefix and exact" (fun () ->
                task {
                    do! goesTo "alpha" (http2 ()) "https://paths.example/api/x" []
                    do! goesTo "alpha" (http2 ()) "https://paths.example/exact" []
                    do! goesTo "beta" (http2 ()) "https://paths.example/other/" []
                    do! noRoute (http2 ()) "https://paths.example/api" []
                    do! noRoute (http2 ()) "https://paths.example/exact/" []
                })

            case "by header" (fun () ->
                task {
                    do! goesTo "alpha" (http1 ()) "https://headers.example/" [ "X-Env", "prod" ]
                    do! goesTo "beta" (http1 ()) "https://headers.example/" [ "x-env", "test" ]
                    do! noRoute (http1 ()) "https://headers.example/" [ "x-env", "other" ]
                    do! noRoute (http1 ()) "https://headers.example/" []
                })

            case "by proxy mode: an absolute-form target is a forward request" (fun () ->
                task {
                    do! goesTo "beta" (http1 ()) "https://modes.example/" []
                    let! text = raw "http://modes.example/p" "modes.example"
                    Expect.stringContains text "X-Kedge-Backend-Name: alpha" "forward"
                })

            case "the authority of an absolute-form target beats the Host header" (fun () ->
                task {
                    let! text = raw "http://alpha.example/" "beta.example"
                    Expect.stringContains text "X-Kedge-Backend-Name: alpha" "alpha"
                })

            case "the first route that matches wins" (fun () -> goesTo "alpha" (http1 ()) "https://order.example/" [])
        ]
