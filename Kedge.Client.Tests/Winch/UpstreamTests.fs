/// Kedges behind the proxy of a company.
module Kedge.Client.Tests.Winch.UpstreamTests

open System
open System.Net.Http
open Expecto
open Kedge.Client
open Kedge.Client.Tests.Behind
open Kedge.Client.Tests.Winch.Stage
open Kedge.Tests.Harness

let private password = "password:of-the-company"
let private wrong = "wrong-word-of-the-company"

/// A mapper file whose kedge has a name that only the proxy knows.
let private hidden () =
    let route (host: string) (more: string) =
        $$"""{ "direct": { "key": "{{host}}", "url": "https://kedge.company.test:{{kedge.Value.HttpsPort}}" },
               "proxy_auth": "proxy"{{more}},
               "tls": { "server_name": "localhost", "ca_files": [ {{Json.value Certificates.authority.Value.File}} ] } }"""

    mapper
        [
            route "shop.prod.test" ""
            route "tls.tunnel.test" ", \"connect\": \"passthrough\""
        ]

let private start (proxy: ForwardProxy) (word: string) (more: string list) =
    let url = proxy.Url("me", Uri.EscapeDataString word)
    Winch.Start(hidden (), sources, $"--upstream_proxy={url}" :: more)

[<Tests>]
let tests =
    testList
        "winch, behind a proxy"
        [
            case "kedges and hosts without a route are reached through it, loopback is not" (fun () ->
                task {
                    use proxy = new ForwardProxy("me", password)
                    use! own = start proxy password []
                    let get (url: string) = curl [ "-i"; "--proxy"; own.Proxy; url ]
                    let! _, answer = get "http://shop.prod.test/behind-a-proxy"
                    Expect.stringContains answer "HTTP/1.1 200" "the service"
                    let received = backend.Value.One "/behind-a-proxy"
                    Expect.equal (received.Header "Proxy-Authorization") "" "the proxy's credentials stay there"
                    let connect = $"CONNECT kedge.company.test:{kedge.Value.HttpsPort}"
                    Expect.equal proxy.Asked [| connect |] "a tunnel to the kedge"

                    let! code, answer =
                        curl
                            [
                                "--proxytunnel"
                                "--proxy"
                                own.Proxy
                                "--cacert"
                                Certificates.authority.Value.File
                                "--connect-to"
                                $"localhost:{tlsService.Value.Port}:tls.tunnel.test:{tlsService.Value.Port}"
                                $"https://localhost:{tlsService.Value.Port}/"
                            ]

                    Expect.equal code 0 answer
                    Expect.equal proxy.Asked [| connect; connect |] "TLS through the kedge"
                    let! _, answer = get "http://elsewhere.test/page?x=1"
                    Expect.stringEnds answer "by the proxy" "not mapped"
                    Expect.equal (Array.last proxy.Asked) "GET http://elsewhere.test/page?x=1" "in absolute form"

                    let! _, answer =
                        curl [ "--proxytunnel"; "--proxy"; own.Proxy; "https://elsewhere.test/" ]

                    Expect.stringContains answer "502" "a tunnel that the proxy refuses"
                    Expect.equal (Array.last proxy.Asked) "CONNECT elsewhere.test:443" "asked the proxy"
                    let before = proxy.Asked.Length
                    let! _, answer = get $"http://127.0.0.1:{backend.Value.Port}/directly"
                    Expect.stringContains answer "HTTP/1.1 200" "loopback"
                    Expect.equal proxy.Asked.Length before "not through the proxy"
                })

            case "what the proxy refuses is a sentence without the password" (fun () ->
                task {
                    use proxy = new ForwardProxy("me", password)
                    use! own = start proxy wrong []
                    let! _, answer = curl [ "-i"; "--proxy"; own.Proxy; "http://shop.prod.test/" ]
                    Expect.stringContains answer "X-Winch-Error-Type: kedge-unreachable" "type"
                    Expect.stringContains answer "refuses the connection: HTTP/1.1 407" "reason"
                    Expect.isFalse (answer.Contains wrong) "no password"
                    let! _, answer = curl [ "-i"; "--proxy"; own.Proxy; "http://elsewhere.test/" ]
                    Expect.stringContains answer "HTTP/1.1 502" "a challenge would be for the client"
                    Expect.stringContains answer "does not take the credentials (407)" "reason"
                    let! flags = Winch.Direct.GetStringAsync(own.Url "/debug/flagz")
                    Expect.isFalse (flags.Contains wrong) "nor on the page of flags"

                    use! exempt =
                        start proxy password [ "--upstream_no_proxy=.prod.test,kedge.company.test" ]

                    let before = proxy.Asked.Length
                    let! _, answer = curl [ "-i"; "--proxy"; exempt.Proxy; "http://shop.prod.test/" ]
                    Expect.stringContains answer "kedge-unreachable" "the name is not known here"
                    Expect.equal proxy.Asked.Length before "the proxy was not asked"
                })

            case "a URL that is not a proxy's is an error that does not show its password" (fun () ->
                task {
                    use scratch = new Scratch()
                    let port = Ports.free ()
                    let file = scratch.Write("mapper.json", idle "")

                    for url, part in
                        [
                            $"http://localhost:{port}", "is winch itself"
                            "https://proxy.test:3128", "must be http://[user:password@]host:port"
                            $"http://me:1/{wrong}@proxy.test:3128", "must be http://[user:password@]host:port"
                            $"http://me:1?{wrong}@proxy.test:3128", "must be http://[user:password@]host:port"
                            $"http://me:{wrong}#@proxy.test:3128", "is not a valid url"
                            $"me:{wrong}@proxy.test:3128", "is not a valid url"
                        ] do
                        let! code, _, errors =
                            Winch.Run(
                                scratch.Path,
                                [
                                    $"--server_http_port={port}"
                                    $"--server_mapper_config_path={file}"
                                    $"--upstream_proxy={url}"
                                ],
                                []
                            )

                        Expect.equal code 2 url
                        let errors = String.Join('\n', errors)
                        Expect.stringContains errors part url
                        Expect.isFalse (errors.Contains wrong) url
                })

            case "the library reaches its kedges through a proxy" (fun () ->
                task {
                    use proxy = new ForwardProxy("me", "word")

                    let route =
                        KedgeRoute(
                            Uri $"https://kedge.company.test:{kedge.Value.HttpsPort}",
                            Tls = KedgeTls(CaFiles = [| Certificates.authority.Value.File |], ServerName = "localhost"),
                            ProxyAuth = TokenSources.Static("proxy", proxySecret)
                        )

                    let handler =
                        new KedgeHandler(
                            KedgeMapper.Single route,
                            KedgeHandlerOptions(Proxy = Uri(proxy.Url("me", "word")))
                        )

                    use client = new HttpClient(handler, Timeout = patience)
                    use! response = client.GetAsync "http://shop.prod.test/library-behind-a-proxy"
                    Expect.equal (int response.StatusCode) 200 "status"
                    Expect.equal proxy.Asked.Length 1 "through the proxy"

                    let error =
                        Expect.throwsC
                            (fun () ->
                                new KedgeHandler(
                                    KedgeMapper.Single route,
                                    KedgeHandlerOptions(Proxy = Uri $"http://me:1/{wrong}@proxy.test")
                                )
                                |> ignore)
                            _.Message

                    Expect.stringContains error "must be http://[user:password@]host:port" "a bad URL"
                    Expect.isFalse (error.Contains wrong) "no password"
                })
        ]
