/// Attacks on the rules that keep the credentials of winch from strangers.
module Kedge.Client.Tests.Winch.SafetyTests

open System
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Text
open System.Threading.Tasks
open Expecto
open Kedge.Client.Tests.Behind
open Kedge.Client.Tests.Winch.Stage
open Kedge.Tests.Harness
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core

/// What a connection to a port answers to these bytes until it ends.
let private raw (port: int) (text: string) : Task<string> =
    task {
        use client = new TcpClient()
        do! client.ConnectAsync(IPAddress.Loopback, port)
        let stream = client.GetStream()
        do! stream.WriteAsync(Encoding.ASCII.GetBytes text)
        use reader = new StreamReader(stream, Encoding.Latin1)
        return! reader.ReadToEndAsync() |> within "the answer"
    }

let private status (answer: string) = (answer.Split ' ')[1]

/// A command that prints a token and counts its runs in a file.
let private counting (scratch: Scratch) =
    let file = scratch.File "runs"
    let script = $"echo run >> {file}; echo token-number-$(wc -l < {file})"

    let source =
        $$"""{ "auth_sources": [ { "name": "counted",
               "exec": { "command": "sh", "args": [ "-c", {{Json.value script}} ] } } ] }"""

    source,
    (fun () ->
        if File.Exists file then
            (File.ReadAllLines file).Length
        else
            0)

[<Tests>]
let ownPages =
    testList
        "winch, own pages"
        [
            case "a name that a stranger makes resolve to this machine reaches no page (DNS rebinding)" (fun () ->
                task {
                    let port = winch.Value.Port
                    let! token = Winch.Direct.GetStringAsync(winch.Value.Url "/winch/page-token")

                    for host in
                        [
                            $"evil.example:{port}"
                            $"localhost.evil.example:{port}"
                            $"127.0.0.1.nip.io:{port}"
                            $"any.localhost:{port}"
                            $"localhost.:{port}"
                            $"127.0.0.2:{port}"
                            $"0.0.0.0:{port}"
                            "127.0.0.1"
                            $"127.0.0.1:{port + 1}"
                        ] do
                        for page in [ "/"; "/winch/page-token"; "/debug/flagz"; "/winch/cleartoken/proxy" ] do
                            let! answer =
                                raw port $"GET {page} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"

                            Expect.notEqual (status answer) "200" $"{host} {page}"
                            Expect.stringContains answer "X-Winch-Error-Type: " $"{host} {page}: not forwarded"
                            Expect.isFalse (answer.Contains token) $"{host} {page}"

                    for host in
                        [
                            $"127.0.0.1:{port}"
                            $"localhost:{port}"
                            $"LocalHost:{port}"
                            $"[::1]:{port}"
                        ] do
                        let! answer =
                            raw port $"GET /version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"

                        Expect.equal (status answer) "200" host
                })

            case "no request leads back into winch" (fun () ->
                task {
                    let port = winch.Value.Port

                    for own in [ port; winch.Value.GrpcPort ] do
                        for host in [ "127.0.0.1"; "localhost"; "127.1.2.3"; "[::ffff:127.0.0.1]"; "0.0.0.0" ] do
                            let target = $"{host}:{own}"

                            let! answer =
                                raw
                                    port
                                    $"GET http://{target}/winch/page-token HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"

                            Expect.equal (status answer) "508" target
                            let! answer = raw port $"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
                            Expect.equal (status answer) "508" $"CONNECT {target}"
                })

            case "GET and a POST without the page's token change nothing" (fun () ->
                task {
                    use scratch = new Scratch()
                    let sources, runs = counting scratch

                    let mapper =
                        mapper [ route "^a[.]prod[.]test$" (httpKedge ()) """ "backend_auth": "counted" """ ]

                    use! own = Winch.Start(mapper, sources, [ "--quitquitquit" ])

                    let call () =
                        task {
                            let! code, answer = curl [ "--proxy"; own.Proxy; "http://a.prod.test/" ]
                            Expect.equal code 0 answer
                        }

                    do! call ()
                    do! call ()
                    Expect.equal (runs ()) 1 "the token is kept"
                    let! page = Winch.Direct.GetAsync(own.Url "/winch/cleartoken/counted")
                    Expect.equal page.StatusCode HttpStatusCode.OK "GET asks"
                    let! text = page.Content.ReadAsStringAsync()
                    Expect.stringContains text "<form method=\"post\"" "with a form"
                    let! _ = Winch.Direct.GetAsync(own.Url "/winch/login/counted")
                    let! _ = Winch.Direct.GetAsync(own.Url "/winch/logout/counted")
                    let! quit = Winch.Direct.GetAsync(own.Url "/quitquitquit")
                    Expect.equal quit.StatusCode HttpStatusCode.NotFound "no GET ends winch"

                    // What a form on a stranger's page can send.
                    let forged =
                        [
                            new FormUrlEncodedContent(dict []) :> HttpContent
                            new FormUrlEncodedContent(dict [ "page_token", "00000000000000000000000000000000" ])
                            new StringContent("page_token=", Encoding.UTF8, "text/plain")
                        ]

                    for content in forged do
                        let! answer = Winch.Direct.PostAsync(own.Url "/winch/cleartoken/counted", content)
                        Expect.equal answer.StatusCode HttpStatusCode.Forbidden "refused"

                    do! call ()
                    Expect.equal (runs ()) 1 "nothing has changed"
                    let! token = Winch.Direct.GetStringAsync(own.Url "/winch/page-token")

                    let! cleared =
                        Winch.Direct.PostAsync(
                            own.Url "/winch/cleartoken/counted",
                            new FormUrlEncodedContent(dict [ "page_token", token ])
                        )

                    Expect.equal cleared.StatusCode HttpStatusCode.OK "with the token"
                    do! call ()
                    Expect.equal (runs ()) 2 "another token is fetched"
                    let! _ = Winch.Direct.PostAsync(own.Url "/quitquitquit", null)
                    let! code = own.Program.Exit()
                    Expect.equal code 0 "quitquitquit"
                })

            case "no page has CORS, and none can be framed" (fun () ->
                task {
                    use! own = Winch.Start(idle "", "", [ "--cors_allowed_origin=http://trusted.test" ])

                    for origin in [ "http://trusted.test"; "http://evil.test" ] do
                        use request = new HttpRequestMessage(HttpMethod.Get, own.Url "/winch/page-token")
                        request.Headers.Add("Origin", origin)
                        use! answer = Winch.Direct.SendAsync request
                        Expect.isFalse (answer.Headers.Contains "Access-Control-Allow-Origin") origin
                        Expect.equal (Seq.exactlyOne (answer.Headers.GetValues "X-Frame-Options")) "DENY" origin
                })
        ]

[<Tests>]
let crossSite =
    let ask (headers: string list) (url: string) =
        curl (
            [ "-i"; "--proxy"; winch.Value.Proxy ]
            @ List.collect (fun header -> [ "-H"; header ]) headers
            @ [ url ]
        )

    testList
        "winch, pages of other sites"
        [
            case "their requests are refused where winch adds the user's credentials, and only there" (fun () ->
                task {
                    let refused =
                        [
                            [ "Sec-Fetch-Site: cross-site"; "Sec-Fetch-Mode: cors" ]
                            [ "Sec-Fetch-Site: cross-site"; "Sec-Fetch-Mode: no-cors" ]
                            [
                                "Sec-Fetch-Site: cross-site"
                                "Sec-Fetch-Mode: navigate"
                                "Sec-Fetch-Dest: iframe"
                            ]
                            [ "Origin: http://evil.test" ]
                            [ "Origin: null" ]
                            [ "Origin: http://with-service.prod.test.evil.test" ]
                            [ "Referer: http://evil.test/page" ]
                        ]

                    for headers in refused do
                        let name = String.Join(", ", headers)
                        let! _, answer = ask headers "http://with-service.prod.test/cross-site"
                        Expect.stringContains answer "HTTP/1.1 403" name
                        Expect.stringContains answer "X-Winch-Error-Type: cross-site" name
                        let! _, answer = ask headers "http://plain.prod.test/without-credentials"
                        Expect.stringContains answer "HTTP/1.1 200" $"{name}, to a route without credentials"

                    Expect.isEmpty (backend.Value.ReceivedOn "/cross-site") "nothing reached the service"

                    let taken =
                        [
                            []
                            [ "Sec-Fetch-Site: same-origin"; "Sec-Fetch-Mode: cors" ]
                            [
                                "Sec-Fetch-Site: cross-site"
                                "Sec-Fetch-Mode: navigate"
                                "Sec-Fetch-Dest: document"
                            ]
                            [ "Origin: http://with-service.prod.test" ]
                            [ "Origin: http://plain.prod.test" ]
                            [ "Referer: http://evil.test/page"; "Upgrade-Insecure-Requests: 1" ]
                        ]

                    for headers in taken do
                        let! _, answer = ask headers "http://with-service.prod.test/same-site"
                        Expect.stringContains answer "HTTP/1.1 200" (String.Join(", ", headers))
                })

            case "a POST of another site is refused although it navigates" (fun () ->
                task {
                    let! _, answer =
                        curl
                            [
                                "-i"
                                "--proxy"
                                winch.Value.Proxy
                                "-d"
                                "x"
                                "-H"
                                "Origin: http://evil.test"
                                "-H"
                                "Upgrade-Insecure-Requests: 1"
                                "http://with-service.prod.test/posted"
                            ]

                    Expect.stringContains answer "X-Winch-Error-Type: cross-site" "refused"
                })

            case "a preflight is the service's to answer; winch answers it only for the origins of its flag" (fun () ->
                task {
                    backend.Value.On(
                        "/preflight",
                        fun context ->
                            context.Response.StatusCode <- 204
                            context.Response.Headers.AccessControlAllowOrigin <- "http://of-the-service.test"
                            Task.CompletedTask
                    )

                    let preflight (proxy: string) (host: string) =
                        curl
                            [
                                "-i"
                                "--proxy"
                                proxy
                                "-X"
                                "OPTIONS"
                                "-H"
                                "Origin: http://trusted.test"
                                "-H"
                                "Access-Control-Request-Method: PUT"
                                $"http://{host}.prod.test/preflight"
                            ]

                    let! _, answer = preflight winch.Value.Proxy "plain"
                    Expect.stringContains answer "Access-Control-Allow-Origin: http://of-the-service.test" "forwarded"

                    use! own =
                        Winch.Start(usual (), sources, [ "--cors_allowed_origin=http://trusted.test" ])

                    let! _, answer = preflight own.Proxy "with-service"
                    Expect.stringContains answer "Access-Control-Allow-Origin: http://trusted.test" "winch's own"
                    Expect.equal (backend.Value.ReceivedOn "/preflight").Length 1 "not forwarded"
                })
        ]

[<Tests>]
let tokens =
    testList
        "winch, where tokens go"
        [
            case "a token for an http kedge is an error before anything listens" (fun () ->
                task {
                    use scratch = new Scratch()
                    let auth = scratch.Write("auth.json", sources)

                    for auth_field in [ "proxy_auth"; "backend_auth" ] do
                        for destination in
                            [
                                """ "direct": { "key": "a.test", "url": "http://kedge.test" } """
                                """ "regexp": { "exp": "^(?P<c>[a-z]+)[.]test$", "url": "http://${c}.kedge.test" } """
                                """ "single": { "url": "HTTP://kedge.test" } """
                                """ "suffix": { "pattern": "*.test", "suffix": ".kedge.test", "scheme": "http" } """
                            ] do
                            let mapper =
                                scratch.Write(
                                    "mapper.json",
                                    $$"""{ "routes": [ { {{destination}}, "{{auth_field}}": "service" } ] }"""
                                )

                            let! code, _, errors =
                                Winch.Run(
                                    scratch.Path,
                                    [
                                        $"--server_mapper_config_path={mapper}"
                                        $"--server_auth_config_path={auth}"
                                        $"--server_http_port={Ports.free ()}"
                                    ],
                                    []
                                )

                            Expect.equal code 2 destination
                            Expect.stringContains (String.Join('\n', errors)) "mapper.json:1:" "with its place"
                            Expect.stringContains (String.Join('\n', errors)) "https" "says what is wrong"
                })

            case "a crafted host name does not choose the server that gets the token" (fun () ->
                task {
                    use evil = double HttpProtocols.Http1AndHttp2

                    let mapper =
                        mapper
                            [
                                route
                                    "(?P<c>.+)[.]prod[.]test"
                                    ("https://${c}.kedge.invalid:" + string evil.Port)
                                    """ "proxy_auth": "proxy", "backend_auth": "service" """
                            ]

                    use! own = Winch.Start(mapper, sources, [])

                    for host in
                        [
                            "localhost:1@x.prod.test"
                            "localhost/.prod.test"
                            "localhost%2f.prod.test"
                            "localhost#.prod.test"
                            "localhost?.prod.test"
                            "localhost\\.prod.test"
                            "localhost%23.prod.test"
                            "[::1].prod.test"
                            "localhost\t.prod.test"
                        ] do
                        for form in
                            [
                                $"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                                $"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                            ] do
                            let! answer = raw own.Port form
                            Expect.notEqual (status answer) "200" host

                    Expect.isEmpty evil.Received "nothing arrived"
                })

            case "the credentials of a shared machine's proxy are demanded, and never forwarded" (fun () ->
                task {
                    use! own = Winch.Start(usual (), sources, [ "--proxy_credentials" ])
                    let! _, answer = curl [ "-i"; "--proxy"; own.Proxy; "http://plain.prod.test/locked" ]
                    Expect.stringContains answer "HTTP/1.1 407" "without"
                    Expect.stringContains answer "Proxy-Authenticate: Basic" "a challenge"

                    let! _, answer =
                        curl [ "-i"; "--proxy"; own.Proxy; "--proxytunnel"; "http://plain.prod.test/locked" ]

                    Expect.stringContains answer "HTTP/1.1 407" "without, in a tunnel"

                    let! _, lines, _ =
                        Winch.Run(
                            own.Scratch.Path,
                            [
                                "env"
                                "--proxy_credentials"
                                $"--server_http_port={own.Port}"
                                $"""--server_mapper_config_path={own.Scratch.File "mapper.json"}"""
                                $"""--server_auth_config_path={own.Scratch.File "auth.json"}"""
                            ],
                            []
                        )

                    let line =
                        lines
                        |> Array.find (fun line -> line.StartsWith("export http_proxy=", StringComparison.Ordinal))

                    let proxy = line.Substring("export http_proxy=".Length).Trim '\''

                    for tunnel in [ []; [ "--proxytunnel" ] ] do
                        let! _, answer =
                            curl ([ "--proxy"; proxy ] @ tunnel @ [ "http://plain.prod.test/unlocked" ])

                        Expect.equal answer "behind" "with them"

                    for received in backend.Value.ReceivedOn "/unlocked" do
                        Expect.equal (received.Header "Proxy-Authorization") "" "not forwarded"

                    Expect.isEmpty (backend.Value.ReceivedOn "/locked") "nothing without them"
                })

            case "an address that others can reach needs a flag of its own" (fun () ->
                task {
                    use scratch = new Scratch()
                    let mapper = scratch.Write("mapper.json", idle "")

                    let! code, _, errors =
                        Winch.Run(
                            scratch.Path,
                            [ $"--server_mapper_config_path={mapper}"; "--server_bind_address=0.0.0.0" ],
                            []
                        )

                    Expect.equal code 2 "refused"
                    Expect.stringContains (String.Join('\n', errors)) "--unsafe_bind" "says how"
                })
        ]
