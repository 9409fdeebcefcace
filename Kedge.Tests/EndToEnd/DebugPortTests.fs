module Kedge.Tests.EndToEnd.DebugPortTests

open System
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Text
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private pages =
    [
        "/debug/status"
        "/debug/explain"
        "/debug/requests"
        "/debug/limits"
        "/debug/flagz"
    ]

let private start flags =
    task {
        let peer = new HttpPeer "paged"

        let! kedge = serving "paged" peer.Port flags

        return peer, kedge
    }

/// 1 = SERVING, 2 = NOT_SERVING; 0 when nobody answers.
let private grpcHealth (port: int) =
    task {
        use client = new HttpClient(new SocketsHttpHandler(UseProxy = false))

        use request =
            Clients.emptyCall $"http://127.0.0.1:{port}/grpc.health.v1.Health/Check"

        try
            use! answer = client.SendAsync request
            let! body = answer.Content.ReadAsByteArrayAsync()
            // A length-prefixed message of one field: status, a varint.
            return if body.Length = 7 && body[5] = 8uy then int body[6] else 0
        with :? HttpRequestException ->
            return 0
    }

[<Tests>]
let tests =
    testList
        "debug port"
        [
            case "pages come as HTML or JSON by Accept, with a strict policy; GET and HEAD only" (fun () ->
                task {
                    let! peer, kedge = start []
                    use peer = peer
                    use kedge = kedge
                    let! index = DebugPort.text kedge "/"

                    for page in pages do
                        Expect.stringContains index page "the list of pages"
                        use! html = DebugPort.send kedge HttpMethod.Get page "text/html"
                        let! text = html.Content.ReadAsStringAsync()
                        Expect.stringStarts text "<!DOCTYPE html>" page

                        Expect.stringContains
                            (Clients.header "Content-Security-Policy" html)
                            "default-src 'self'; img-src data:"
                            page

                        let! json = DebugPort.json kedge page
                        Expect.equal (json.GetProperty("server").GetProperty("state").GetString()) "serving" page
                        use! head = DebugPort.send kedge HttpMethod.Head page ""
                        let! body = head.Content.ReadAsByteArrayAsync()
                        Expect.equal (int head.StatusCode, body.Length) (200, 0) page
                        use! post = DebugPort.send kedge HttpMethod.Post page ""
                        Expect.equal (int post.StatusCode) 405 page

                    for asset, kind in [ "/debug/kedge.css", "text/css"; "/debug/kedge.js", "text/javascript" ] do
                        use! response = DebugPort.send kedge HttpMethod.Get asset ""
                        Expect.stringStarts (Clients.header "Content-Type" response) kind asset
                })

            case "flagz: every flag, what was given, and no secret" (fun () ->
                task {
                    let! peer, kedge =
                        start [ "--unsafe_bearer_token_proxy_auth=hunter2"; "--trusted_proxies=10.0.0.0/8" ]

                    use peer = peer
                    use kedge = kedge
                    let! json = DebugPort.json kedge "/debug/flagz"
                    let! html = DebugPort.text kedge "/debug/flagz"
                    Expect.isFalse ((json.ToString() + html).Contains "hunter2") "the secret"

                    let value name =
                        json.GetProperty("flags").EnumerateArray()
                        |> Seq.find (fun flag -> flag.GetProperty("name").GetString() = name)

                    Expect.equal
                        ((value "unsafe_bearer_token_proxy_auth").GetProperty("value").GetString())
                        "******"
                        "masked"

                    Expect.equal ((value "trusted_proxies").GetProperty("value").GetString()) "10.0.0.0/8" "given"
                    Expect.isTrue ((value "trusted_proxies").GetProperty("given").GetBoolean()) "given"

                    Expect.equal
                        ((value "server_metrics_path").GetProperty("default").GetString())
                        "/metrics"
                        "default"
                })

            case "flagz: JSON unless HTML is asked for, by Accept or by format; only what was given" (fun () ->
                task {
                    let! peer, kedge = start [ "--trusted_proxies=10.0.0.0/8" ]
                    use peer = peer
                    use kedge = kedge

                    for query, accept, isHtml in
                        [
                            "", "", false
                            "", "*/*", false
                            "", "text/html,*/*;q=0.8", true
                            "?format=html", "*/*", true
                            "?format=json", "text/html", false
                        ] do
                        use! answer = DebugPort.send kedge HttpMethod.Get ("/debug/flagz" + query) accept
                        let kind = if isHtml then "text/html" else "application/json"
                        Expect.stringStarts (Clients.header "Content-Type" answer) kind $"{query} {accept}"

                    use! bad = DebugPort.send kedge HttpMethod.Get "/debug/flagz?format=xml" ""
                    Expect.equal (int bad.StatusCode) 400 "another format"

                    let! given = DebugPort.json kedge "/debug/flagz?only_changed"
                    let! all = DebugPort.json kedge "/debug/flagz?only_changed=false"

                    let names (json: Text.Json.JsonElement) =
                        [
                            for flag in json.GetProperty("flags").EnumerateArray() do
                                string (flag.GetProperty "name")
                        ]

                    Expect.contains (names given) "trusted_proxies" "given"
                    Expect.isFalse (List.contains "server_header_timeout" (names given)) "not given"
                    Expect.contains (names all) "server_header_timeout" "all"
                })

            case "the version is under the original's key, too" (fun () ->
                task {
                    let! peer, kedge = start []
                    use peer = peer
                    use kedge = kedge
                    let! version = DebugPort.json kedge "/_version"

                    Expect.equal
                        (string (version.GetProperty "build_version"))
                        (string (version.GetProperty "version"))
                        "the same"
                })

            case "the configuration in force comes as files that kedge can be started from" (fun () ->
                task {
                    let! peer, kedge = start []
                    use peer = peer
                    use kedge = kedge
                    use scratch = new Scratch()
                    let! director = DebugPort.text kedge "/debug/config/director.json"
                    let! pool = DebugPort.text kedge "/debug/config/backendpool.json"
                    let! both = DebugPort.json kedge "/debug/config"

                    let host (director: Text.Json.JsonElement) =
                        string (director.GetProperty("http").GetProperty("routes").[0].GetProperty "host_matcher")

                    Expect.equal (host (both.GetProperty "director")) "paged.example" "both in one"
                    Expect.equal (host (Text.Json.JsonDocument.Parse(director).RootElement)) "paged.example" "the file"

                    let! code, out, errors =
                        KedgeProgram.RunToEnd
                            [
                                "check"
                                "--strict"
                                "--kedge_config_director_config_path="
                                + scratch.Write("director.json", director)
                                "--kedge_config_backendpool_config_path="
                                + scratch.Write("backendpool.json", pool)
                            ]

                    Expect.equal (code, errors) (0, [||]) $"%A{out}"
                    Expect.exists out (fun line -> line.Contains "1 HTTP route, ") $"the route: %A{out}"
                    Expect.exists out (fun line -> line.Contains "1 HTTP backend, ") $"the backend: %A{out}"
                })

            case "a reader that leaves in mid-page harms nothing" (fun () ->
                task {
                    let! peer, kedge = start []
                    use peer = peer
                    use kedge = kedge

                    for _ in 1..50 do
                        use client = new TcpClient("127.0.0.1", kedge.DebugPort)
                        client.LingerState <- LingerOption(true, 0)

                        client
                            .GetStream()
                            .Write(Encoding.ASCII.GetBytes "GET /debug/flagz HTTP/1.1\r\nHost: x\r\n\r\n")
                        // Reset without reading.
                        client.Close()

                    let! page = DebugPort.text kedge "/debug/flagz"
                    Expect.stringContains page "server_bind_address" "still there"
                    Expect.isFalse (kedge.Program.Output.Contains "\"level\":\"error\"") kedge.Program.Output
                })

            case "explain says which rule wins; requests lists what went by; neither is on the proxy ports" (fun () ->
                task {
                    let! peer, kedge = start []
                    use peer = peer
                    use kedge = kedge

                    let! taken =
                        DebugPort.json kedge "/debug/explain?method=GET&url=https://paged.example/x"

                    Expect.stringContains (string (taken.GetProperty("verdict").GetString())) "paged" "verdict"

                    let! lost =
                        DebugPort.json kedge "/debug/explain?method=GET&url=https://other.example/x"

                    Expect.equal (lost.GetProperty("verdict_tone").GetString()) "warning" "no route"
                    let! wrong = DebugPort.json kedge "/debug/explain?method=GET&url=nonsense"
                    Expect.equal (wrong.GetProperty("verdict_tone").GetString()) "bad" "no URL"
                    use client = Clients.http1 kedge.HttpsPort None

                    let! proxied =
                        get client "https://paged.example/debug/status?q=hidden" [ "X-Kedge-Request-ID", "seen-1" ]

                    Expect.equal proxied.Body "paged" "the backend's page, not kedge's"
                    let! requests = DebugPort.json kedge "/debug/requests"
                    let request = requests.GetProperty("requests")[0]

                    for name, value in
                        [
                            "request_id", "seen-1"
                            "request", "GET paged.example/debug/status"
                            "status", "200"
                            "rule", "host=paged.example"
                            "backend", "paged"
                            "endpoint", $"127.0.0.1:{peer.Port}"
                            "error", ""
                        ] do
                        Expect.equal (string (request.GetProperty(name: string))) value name

                    Expect.equal (request.GetProperty("attempts").GetInt32()) 1 "attempts"

                    let first, total =
                        request.GetProperty("first_byte_ms").GetDouble(), request.GetProperty("total_ms").GetDouble()

                    Expect.isTrue (0.0 < first && first <= total) "timings"
                })

            case "grpc.health.v1: SERVING, and NOT_SERVING while draining" (fun () ->
                task {
                    let port = Ports.free ()
                    let! peer, kedge = start [ $"--server_grpc_health_port={port}" ]
                    use peer = peer
                    use kedge = kedge
                    let entered = Threading.Tasks.TaskCompletionSource()
                    let release = Threading.Tasks.TaskCompletionSource()

                    peer.On(
                        "/slow",
                        fun _ ->
                            entered.SetResult()
                            release.Task
                    )

                    let! serving = grpcHealth port
                    Expect.equal serving 1 "serving"
                    use client = Clients.http1 kedge.HttpsPort None
                    let slow = get client "https://paged.example/slow" []
                    do! finishes "the slow request" entered.Task
                    kedge.Program.Signal PosixSignal.SIGTERM
                    do! eventually "NOT_SERVING" (fun () -> grpcHealth(port).GetAwaiter().GetResult() = 2)
                    release.SetResult()
                    let! answer = slow
                    Expect.equal answer.Status 200 "the slow answer"
                    let! code = kedge.Program.Exit()
                    Expect.equal code 0 kedge.Program.Output
                })
        ]
