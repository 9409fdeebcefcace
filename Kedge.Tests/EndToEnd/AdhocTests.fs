module Kedge.Tests.EndToEnd.AdhocTests

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Http
open System.Net.NetworkInformation
open System.Text.Json
open Expecto
open Grpc.Core
open Kedge.Tests.Core
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Server.Kestrel.Core

let private dns =
    Shared.make (fun () ->
        let server = new Dns 60

        server
            .Serve(
                [
                    Address("web.pod.cluster.local", "127.0.0.1")
                    Address("other.pod.cluster.local", "127.0.0.2")
                    Address("web.first.pod.cluster.local", "127.0.0.1")
                    Address("web.svc.cluster.local", "127.0.0.1")
                    Address("multicast.pod.cluster.local", "224.0.0.1")
                    Address("metadata.pod.cluster.local", "169.254.169.254")
                    Address("mixed.pod.cluster.local", "127.0.0.1")
                    Address("mixed.pod.cluster.local", "169.254.169.254")
                ]
            )
            .GetAwaiter()
            .GetResult()

        server)

/// The documented rule for pods, `*.pod.cluster.local` with the ports 40 to 10000, as misc/director.json has it.
let private podRule =
    lazy
        (let file = File.ReadAllText(SourceTree.path "misc/director.json")

         use director =
             JsonDocument.Parse(file, JsonDocumentOptions(CommentHandling = JsonCommentHandling.Skip))

         director.RootElement.GetProperty("http").GetProperty("adhoc_rules").[0].GetRawText())

/// Pods that listen on ports which that rule allows.
let private pod =
    Shared.make (fun () ->
        new HttpPeer("pod", HttpProtocols.Http1, None, IPEndPoint(IPAddress.Loopback, Ports.freeLow ())))

let private grpcPod =
    Shared.make (fun () -> new GrpcPeer("pod", None, IPEndPoint(IPAddress.Loopback, Ports.freeLow ())))

/// The rule for pods, in front of it one that takes a part of its names, and behind it others.
let private rules (port: int) =
    [
        """{ "dns_name_matcher": "*.first.pod.cluster.local", "port": { "allowed": [7] } }"""
        podRule.Value
        $$"""{ "dns_name_matcher": "*.svc.cluster.local", "port": { "default": {{port}}, "allowed": [{{port}}] } }"""
        """{ "dns_name_matcher": "*.odd.cluster.local", "port": { "allowed": [81] } }"""
        $$"""{ "dns_name_matcher": "*.pod.outside.test",
               "port": { "allowed_ranges": [{ "from": 40, "to": 65535 }] },
               "dns_name_replace": { "pattern": "outside.test", "substitution": "cluster.local" } }"""
        """{ "dns_name_matcher": "*.replaced.test", "port": { "allowed": [80] },
             "dns_name_replace": { "pattern": "absent", "substitution": "x" } }"""
        """{ "dns_name_matcher": "*", "port": { "allowed_ranges": [{ "from": 1024, "to": 65535 }] } }"""
    ]

let private start (flags: string list) =
    Shared.make (fun () ->
        let pool = Json.pool [] []

        let director =
            $$"""{ "http": { "adhoc_rules": [{{String.Join(",", rules alpha.Value.Port)}}] },
                   "grpc": { "adhoc_rules": [{{String.Join(",", rules echo.Value.Port)}}] } }"""

        Kedge.Start(director, pool, $"--dns_nameservers=127.0.0.1:{dns.Value.Port}" :: flags).GetAwaiter().GetResult())

let private open' = start [ "--adhoc_allow_loopback" ]
let private closed = start []

let private viaHttp (kedge: Kedge) (authority: string) =
    task {
        use client = Clients.http1 kedge.HttpsPort None
        // The authority is what the rules see; the URL's own is only where the client believes it talks to.
        let request =
            new HttpRequestMessage(HttpMethod.Get, "https://adhoc.invalid/adhoc-" + authority)

        request.Headers.Host <- authority
        return! send client request
    }

let private viaGrpc (kedge: Kedge) (authority: string) =
    task {
        use channel = Clients.grpc kedge.GrpcPort None authority
        return! Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "hi"))
    }

let private grpcFailure kedge authority = failure<RpcException> authority (fun () -> viaGrpc kedge authority)

/// Both protocols refuse it, in their ways.
let private isRefused (kedge: Kedge) (authority: string) status code errorType (reason: string) =
    task {
        let! answer = viaHttp kedge authority
        Expect.equal (answer.Status, answer.Header "X-Kedge-Error-Type") (status, errorType) authority
        Expect.stringContains answer.Body reason authority
        let! error = grpcFailure kedge authority
        Expect.equal error.StatusCode code authority
        Expect.stringContains error.Status.Detail reason authority
    }

let private bad kedge authority reason = isRefused kedge authority 400 StatusCode.InvalidArgument "bad-request" reason

[<Tests>]
let tests =
    testList
        "ad-hoc rules"
        [
            case "a pod is reached by its name and port, and sees the caller's authority" (fun () ->
                task {
                    let authority = $"web.pod.cluster.local:{pod.Value.Port}"
                    let! answer = viaHttp open'.Value authority
                    Expect.equal (answer.Status, answer.Body) (200, "pod") "answer"
                    Expect.equal (answer.Header "X-Kedge-Backend-Name") "" "no backend's name"
                    let got = pod.Value.One("/adhoc-" + authority)
                    Expect.equal (got.Header "Host") authority "authority"

                    let authority = $"web.pod.cluster.local:{grpcPod.Value.Port}"
                    let! reply = viaGrpc open'.Value authority
                    Expect.equal (reply.Backend, reply.Authority) ("pod", authority) "gRPC"
                })

            case "connections to pods are kept for the requests that follow" (fun () ->
                task {
                    use peer =
                        new HttpPeer(
                            "kept",
                            HttpProtocols.Http1,
                            None,
                            IPEndPoint(IPAddress.Loopback, Ports.freeLow ())
                        )

                    for _ in 1..5 do
                        let! answer = viaHttp open'.Value $"web.pod.cluster.local:{peer.Port}"
                        Expect.equal (answer.Status, answer.Body) (200, "kept") "answer"

                    let connections = peer.Received |> Array.distinctBy _.ConnectionId
                    Expect.equal (peer.Received.Length, connections.Length) (5, 1) "requests, connections"
                })

            case "without a port the request's are 80 and 443, and the rule's default is taken" (fun () ->
                task {
                    let! answer = viaHttp open'.Value "web.svc.cluster.local"
                    Expect.equal (answer.Status, answer.Body) (200, "alpha") "answer"

                    Expect.equal
                        (alpha.Value.One("/adhoc-web.svc.cluster.local").Header "Host")
                        "web.svc.cluster.local"
                        "host"
                })

            case "without a port and without a default it is 80" (fun () ->
                task { do! bad open'.Value "web.odd.cluster.local" "port 80 is not allowed" })

            case "a port outside the rule's is refused, 39 as well as 10001" (fun () ->
                task {
                    for port in [ 39; 10001 ] do
                        do! bad open'.Value $"web.pod.cluster.local:{port}" $"port {port} is not allowed"
                })

            case "the ends of the range are inside" (fun () ->
                task {
                    for port in [ 40; 10000 ] do
                        // Allowed, but nobody listens there on that address.
                        do!
                            isRefused
                                open'.Value
                                $"other.pod.cluster.local:{port}"
                                502
                                StatusCode.Unavailable
                                "no-connection-to-all-resolved-addresses"
                                "other.pod.cluster.local"
                })

            case "the first rule whose name matches decides, also when it refuses" (fun () ->
                task {
                    // The next rule would allow it, which it does for the name without that part.
                    do! bad open'.Value $"web.first.pod.cluster.local:{pod.Value.Port}" "is not allowed"
                    let! answer = viaHttp open'.Value $"web.pod.cluster.local:{pod.Value.Port}"
                    Expect.equal answer.Status 200 "the next rule"
                })

            case "dns_name_replace makes another name of it, for the lookup alone" (fun () ->
                task {
                    let authority = $"web.pod.outside.test:{alpha.Value.Port}"
                    let! answer = viaHttp open'.Value authority
                    Expect.equal (answer.Status, answer.Body) (200, "alpha") "answer"
                    Expect.equal (alpha.Value.One("/adhoc-" + authority).Header "Host") authority "authority"
                    do! bad open'.Value "x.replaced.test:80" "does not contain the pattern"
                })

            case "an address in place of a name goes there without a lookup" (fun () ->
                task {
                    let authority = $"127.0.0.1:{alpha.Value.Port}"
                    let! answer = viaHttp open'.Value authority
                    Expect.equal (answer.Status, answer.Body) (200, "alpha") "answer"
                })

            case "a name that leads to this machine is refused unless that is allowed" (fun () ->
                task {
                    do! bad closed.Value $"web.pod.cluster.local:{pod.Value.Port}" "loopback"
                    do! bad closed.Value $"web.pod.cluster.local:{grpcPod.Value.Port}" "loopback"
                    do! bad closed.Value "127.0.0.1:8080" "loopback"
                    do! bad closed.Value "[::1]:8080" "loopback"
                    do! bad closed.Value "[::ffff:127.0.0.1]:8080" "loopback"
                })

            case "link-local, multicast and unspecified addresses are refused in any case" (fun () ->
                task {
                    do! bad open'.Value "metadata.pod.cluster.local:80" "link-local"
                    do! bad open'.Value "multicast.pod.cluster.local:80" "multicast"
                    do! bad open'.Value "0.0.0.0:8080" "unspecified"
                    do! bad open'.Value "[fe80::1]:8080" "link-local"
                })

            case
                "addresses of tunnels and translators, metadata services and reserved ranges are refused, too"
                (fun () ->
                    task {
                        for authority, kind in
                            [
                                "[fd00:ec2::254]:8080", "metadata"
                                "100.100.100.200:8080", "metadata"
                                "[64:ff9b:1::7f00:1]:8080", "translated"
                                "[::ffff:0:127.0.0.1]:8080", "translated"
                                "[64:ff9b::127.0.0.1]:8080", "loopback"
                                "[2002:7f00:1::]:8080", "loopback"
                                "[2001:0:102:304::1]:8080", "tunnel"
                                "[fd00::5efe:127.0.0.1]:8080", "tunnel"
                                "[fec0::1]:8080", "site-local"
                                "[4000::1]:8080", "reserved"
                                "240.0.0.1:8080", "reserved"
                                "192.0.0.8:8080", "reserved"
                            ] do
                            do! bad closed.Value authority $"resolves to a {kind} address"
                    })

            case "an address has one spelling, in requests and in rules" (fun () ->
                task {
                    use! kedge =
                        Kedge.Start(
                            Json.directorWithAdhoc
                                []
                                []
                                [
                                    """{ "dns_name_matcher": "127.0.0.1", "port": { "allowed": [1] } }"""
                                    """{ "dns_name_matcher": "2001:DB8:0::7", "port": { "allowed": [1] } }"""
                                    """{ "dns_name_matcher": "*", "port": { "allowed_ranges": [{ "from": 1, "to": 65535 }] } }"""
                                ],
                            Json.pool [] [],
                            [ "--adhoc_allow_loopback" ]
                        )

                    let port = alpha.Value.Port

                    for host in [ "127.1"; "0x7f000001"; "2130706433"; "127.0.0.01"; "0177.0.0.1" ] do
                        let! answer = viaHttp kedge $"{host}:{port}"
                        Expect.equal (answer.Status, answer.Body.Trim()) (400, "malformed authority") host

                    for host in
                        [
                            "127.0.0.1"
                            "127.0.0.1."
                            "[::ffff:127.0.0.1]"
                            "[::FFFF:7f00:1]"
                            "[2001:db8::7]"
                            "[2001:db8:0:0:0:0:0:7]"
                        ] do
                        let! answer = viaHttp kedge $"{host}:{port}"
                        Expect.equal answer.Status 400 host
                        Expect.stringContains answer.Body $"port {port} is not allowed" host
                })

            case "no rule leads to kedge's own ports by the addresses of its host" (fun () ->
                task {
                    let own =
                        [
                            for nic in NetworkInterface.GetAllNetworkInterfaces() do
                                if
                                    nic.OperationalStatus = OperationalStatus.Up
                                    && nic.NetworkInterfaceType <> NetworkInterfaceType.Loopback
                                then
                                    for address in nic.GetIPProperties().UnicastAddresses do
                                        if not address.Address.IsIPv6LinkLocal then
                                            address.Address
                        ]

                    Expect.isNonEmpty own "an interface other than loopback, which this test needs"
                    let kedge = closed.Value

                    for address in own do
                        let host =
                            if address.ToString().Contains ':' then
                                $"[{address}]"
                            else
                                string address

                        for port in [ kedge.DebugPort; kedge.HttpsPort; kedge.GrpcPort ] do
                            do! bad kedge $"{host}:{port}" "one of kedge itself"

                        // On another port of the same address there may be anybody.
                        use peer =
                            new HttpPeer("neighbour", HttpProtocols.Http1, None, IPEndPoint(address, 0))

                        let! answer = viaHttp kedge $"{host}:{peer.Port}"
                        Expect.equal (answer.Status, answer.Body) (200, "neighbour") host
                })

            case "one bad address among good ones spoils the name" (fun () ->
                task { do! bad open'.Value "mixed.pod.cluster.local:80" "link-local" })

            case "a name that does not resolve: no-resolution-available" (fun () ->
                task {
                    do!
                        isRefused
                            open'.Value
                            "nobody.pod.cluster.local:80"
                            503
                            StatusCode.Unavailable
                            "no-resolution-available"
                            "nobody.pod.cluster.local"
                })

            case "a dead target is answered at once, not at the deadline" (fun () ->
                task {
                    let port = Ports.free ()
                    let watch = Stopwatch.StartNew()
                    use channel = Clients.grpc open'.Value.GrpcPort None $"127.0.0.1:{port}"

                    let! error =
                        failure<RpcException> "the call" (fun () ->
                            Echo
                                .EchoClient(channel)
                                .UnaryAsync(EchoRequest(Text = "x"), deadline = DateTime.UtcNow.AddSeconds 25.0)
                                .ResponseAsync)

                    Expect.equal error.StatusCode StatusCode.Unavailable "status"
                    Expect.isLessThan watch.Elapsed (TimeSpan.FromSeconds 15.0) "long before the deadline"
                })

            case "look-ups that nobody answers are bounded, shared by name, and end with the last that waits" (fun () ->
                task {
                    use dns = new RawDns(fun _ -> Silence)

                    use! kedge =
                        Kedge.Start(
                            Json.directorWithAdhoc
                                []
                                []
                                [ """{ "dns_name_matcher": "*", "port": { "allowed": [80] } }""" ],
                            Json.pool [] [],
                            [ $"--dns_nameservers=127.0.0.1:{dns.Port}"; "--adhoc_max_lookups=4" ]
                        )

                    let running () = DebugPort.metric kedge "kedge_adhoc_lookups" []

                    let ask (client: Http2Frames) stream name =
                        client.Headers(
                            stream,
                            [
                                ":method", "GET"
                                ":scheme", "https"
                                ":path", "/"
                                ":authority", $"{name}.silent.test.:80"
                            ],
                            true
                        )

                    use! first = Http2Frames.Connect kedge.HttpsPort
                    use! second = Http2Frames.Connect kedge.HttpsPort

                    // Ten requests, four names.
                    for stream in 0..9 do
                        do! ask first (2 * stream + 1) $"n{stream % 4}"

                    do! soon patience "four look-ups" running (fun count -> count = 4.0)

                    let! answer = viaHttp kedge "other.silent.test:80"

                    Expect.equal
                        (answer.Status, answer.Header "X-Kedge-Error-Type")
                        (503, "too-many-requests")
                        "the fifth name"

                    // A known name joins its look-up.
                    do! ask second 1 "n3"

                    for stream in 0..9 do
                        do! first.Reset(2 * stream + 1)

                    do! soon patience "one look-up is left" running (fun count -> count = 1.0)
                    do! second.Reset 1
                    do! soon patience "no look-up is left" running (fun count -> count = 0.0)

                    Expect.equal (Array.distinct dns.Questions |> Array.length) 4 "names asked for"
                    dns.Answers(fun _ -> Addresses(60, [ "127.0.0.1" ]))
                    do! bad kedge "other.silent.test:80" "loopback"
                })

            case "the requests of one connection wait for sixteen names at most" (fun () ->
                task {
                    use dns = new RawDns(fun _ -> Silence)

                    use! kedge =
                        Kedge.Start(
                            Json.directorWithAdhoc
                                []
                                []
                                [ """{ "dns_name_matcher": "*", "port": { "allowed": [80] } }""" ],
                            Json.pool [] [],
                            [ $"--dns_nameservers=127.0.0.1:{dns.Port}" ]
                        )

                    use! client = Http2Frames.Connect kedge.HttpsPort

                    for stream in 1..20 do
                        do!
                            client.Headers(
                                2 * stream + 1,
                                [
                                    ":method", "GET"
                                    ":scheme", "https"
                                    ":path", "/"
                                    ":authority", $"n{stream}.silent.test.:80"
                                ],
                                true
                            )

                    let mutable refused = 0

                    let! _ =
                        client.ReadUntil(function
                            | Status(_, 503) ->
                                refused <- refused + 1
                                refused = 4
                            | _ -> false)

                    Expect.equal refused 4 "beyond sixteen"
                    let! running = DebugPort.metric kedge "kedge_adhoc_lookups" []
                    Expect.equal running 16.0 "look-ups"
                    dns.Answers(fun _ -> Addresses(60, [ "127.0.0.1" ]))
                    do! bad kedge "other.silent.test:80" "loopback"
                })

            case "no rule: no route" (fun () ->
                task {
                    use! kedge =
                        Kedge.Start(Json.directorWithAdhoc [] [] [ podRule.Value ], Json.pool [] [], [])

                    let! answer = viaHttp kedge "pod.cluster.local:80"
                    Expect.equal (answer.Status, answer.Header "X-Kedge-Error-Type") (502, "no-route") "HTTP"
                    let! error = grpcFailure kedge "pod.cluster.local:80"
                    Expect.equal error.StatusCode StatusCode.Unimplemented "gRPC"
                })
        ]
