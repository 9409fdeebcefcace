module Kedge.Tests.EndToEnd.ForwardProxyTests

open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private kedge =
    Shared.make (fun () ->
        Kedge
            .Start(
                Json.director
                    [
                        """{ "backend_name": "alpha", "host_matcher": "modes.example", "proxy_mode": "FORWARD_PROXY" }"""
                        """{ "backend_name": "beta", "host_matcher": "modes.example", "proxy_mode": "REVERSE_PROXY" }"""
                        """{ "backend_name": "alpha", "host_matcher": "ports.example", "port_matcher": 80 }"""
                        """{ "backend_name": "beta", "host_matcher": "ports.example", "port_matcher": 443 }"""
                        """{ "backend_name": "beta", "host_matcher": "secure.example", "port_matcher": 443 }"""
                    ]
                    [],
                Json.pool [ Json.backend "alpha" alpha.Value.Port; Json.backend "beta" beta.Value.Port ] [],
                []
            )
            .GetAwaiter()
            .GetResult())

/// The answer to one request as it stands, head and body.
let private raw (request: string) =
    task {
        use! client = RawClient.Connect kedge.Value.HttpsPort
        do! client.Write(request.Replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        return! client.ReadToEnd()
    }

[<Tests>]
let tests =
    testList
        "forward proxy"
        [
            case "curl --proxy https://" (fun () ->
                task {
                    let! outcome =
                        Shell.run (
                            $"curl --silent --show-error --proxy https://localhost:{kedge.Value.HttpsPort} "
                            + $"--proxy-cacert '{Certificates.authority.Value.File}' --noproxy '' "
                            + "'http://modes.example/by-curl?q=1'"
                        )

                    Expect.equal (outcome.Code, outcome.Output) (0, "alpha") outcome.Errors
                    let got = alpha.Value.One "/by-curl"
                    Expect.equal (got.RawTarget, got.Header "Host") ("/by-curl?q=1", "modes.example") "what alpha saw"
                })

            case "proxy_mode tells an absolute target from a path" (fun () ->
                task {
                    let! forward =
                        raw "GET http://modes.example/ HTTP/1.1\r\nHost: modes.example\r\n\r\n"

                    Expect.stringContains forward "X-Kedge-Backend-Name: alpha" "forward"
                    let! reverse = raw "GET / HTTP/1.1\r\nHost: modes.example\r\n\r\n"
                    Expect.stringContains reverse "X-Kedge-Backend-Name: beta" "reverse"
                })

            case "an http target without a port means 80, an https one 443, and one with a port that port" (fun () ->
                task {
                    for target, backend in
                        [
                            "http://ports.example/", "alpha"
                            "https://ports.example/", "beta"
                            "http://ports.example:443/", "beta"
                            "https://ports.example:80/", "alpha"
                        ] do
                        let! answer = raw $"GET {target} HTTP/1.1\r\nHost: ports.example\r\n\r\n"
                        Expect.stringContains answer $"X-Kedge-Backend-Name: {backend}" target

                    let! answer =
                        raw "GET http://secure.example/ HTTP/1.1\r\nHost: secure.example\r\n\r\n"

                    Expect.stringContains answer "X-Kedge-Error-Type: no-route" "80 is not 443"
                    let! answer = raw "GET / HTTP/1.1\r\nHost: secure.example\r\n\r\n"
                    Expect.stringContains answer "X-Kedge-Backend-Name: beta" "no port, no absolute target: both"
                })

            case "CONNECT without a flag: 405, a reason, and the methods that are allowed" (fun () ->
                task {
                    let! answer =
                        raw "CONNECT modes.example:443 HTTP/1.1\r\nHost: modes.example:443\r\n\r\n"

                    Expect.stringStarts answer "HTTP/1.1 405 " "status"
                    Expect.stringContains answer "X-Kedge-Error: CONNECT" "reason"
                    Expect.stringContains answer "Allow: GET" "methods"
                })

            case
                "CONNECT with --http_connect_enabled: a tunnel, both ways, to where an ad-hoc rule allows it"
                (fun () ->
                    task {
                        use! kedge =
                            Kedge.Start(
                                Json.directorWithAdhoc
                                    [ Json.httpRoute "alpha" "127.0.0.1" ]
                                    []
                                    [
                                        """{ "dns_name_matcher": "127.0.0.1", "port": { "allowed_ranges": [{ "from": 1024, "to": 65535 }] } }"""
                                    ],
                                Json.pool [ Json.backend "alpha" alpha.Value.Port ] [],
                                [ "--http_connect_enabled"; "--adhoc_allow_loopback" ]
                            )

                        let connect (target: string) =
                            task {
                                let! client = RawClient.Connect kedge.HttpsPort
                                do! client.Write $"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
                                return client
                            }

                        // Says what it heard, and ends.
                        use peer =
                            new RawPeer(fun stream ->
                                task {
                                    let! said = RawPeer.ReadHead stream
                                    do! RawPeer.Write(stream, "heard " + said)
                                })

                        use! tunnel = connect $"127.0.0.1:{peer.Port}"
                        let! head = RawPeer.ReadHead tunnel.Stream
                        Expect.equal head "HTTP/1.1 200 Connection established\r\n\r\n" "answer"
                        do! tunnel.Write "\000\001 no HTTP\r\n\r\n"
                        let! heard = tunnel.ReadToEnd()
                        Expect.equal heard "heard \000\001 no HTTP\r\n\r\n" "all that the target said, and its end"

                        for target, status in
                            [
                                "127.0.0.1:80", "400"
                                "127.0.0.1", "400"
                                "nowhere.example:4430", "502"
                                $"127.0.0.1:{Ports.free ()}", "502"
                            ] do
                            use! refused = connect target
                            let! answer = RawPeer.ReadHead refused.Stream
                            Expect.stringStarts answer $"HTTP/1.1 {status} " target

                        let! still = RawClient.Connect kedge.HttpsPort
                        use still = still
                        do! still.Write "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
                        let! answer = still.ReadToEnd()
                        Expect.stringStarts answer "HTTP/1.1 200" "other requests are what they were"
                    })
        ]
