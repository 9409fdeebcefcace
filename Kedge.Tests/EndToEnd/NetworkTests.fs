/// `client_networks` and `denied_client_networks`: routes for callers from certain networks.
module Kedge.Tests.EndToEnd.NetworkTests

open System
open System.Net.Http
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private route (host: string) (authorization: string) =
    $$"""{ "backend_name": "alpha", "host_matcher": "{{host}}", "authorization": {{authorization}} }"""

let private kedge =
    Shared.make (fun () ->
        Kedge
            .Start(
                Json.director
                    [
                        route "inside.example" """{ "client_networks": ["10.0.0.0/8", "2001:db8::/32"] }"""
                        route "denied.example" """{ "denied_client_networks": ["10.1.0.0/16"] }"""
                        route
                            "both.example"
                            """{ "client_networks": ["10.0.0.0/8"], "denied_client_networks": ["10.1.0.0/16"] }"""
                        route "perms.example" """{ "client_networks": ["10.0.0.0/8"], "any_perms": ["read"] }"""
                        route "local.example" """{ "client_networks": ["127.0.0.1"] }"""
                    ]
                    [
                        """{ "backend_name": "echo", "authority_host_matcher": "inside.example",
                             "authorization": { "client_networks": ["10.0.0.0/8"] } }"""
                    ],
                Json.pool [ Json.backend "alpha" alpha.Value.Port ] [ Json.backend "echo" echo.Value.Port ],
                [ "--trusted_proxies=127.0.0.1,192.0.2.0/24" ]
            )
            .GetAwaiter()
            .GetResult())

let private clients () =
    [
        "HTTP/1.1", Clients.http1 kedge.Value.HttpsPort None
        "HTTP/2", Clients.http2 kedge.Value.HttpsPort None
    ]

let private from (client: HttpClient) (host: string) (forwarded: string) =
    get
        client
        $"https://{host}/"
        (if forwarded = "" then
             []
         else
             [ "X-Forwarded-For", forwarded ])

[<Tests>]
let tests =
    testList
        "client networks"
        [
            case "a route admits callers by their address" (fun () ->
                task {
                    for name, client in clients () do
                        use client = client

                        for host, forwarded, status in
                            [
                                "inside.example", "10.1.2.3", 200
                                "inside.example", "::ffff:10.1.2.3", 200
                                "inside.example", "2001:db8::7", 200
                                "inside.example", "203.0.113.7", 403
                                "inside.example", "10.1.2.3, 203.0.113.7", 403
                                "inside.example", "10.1.2.3, 192.0.2.9", 200
                                "inside.example", "10.1.2.3, nonsense", 403
                                "inside.example", "", 403
                                "local.example", "", 200
                                "local.example", "nonsense", 200
                                "denied.example", "10.1.2.3", 403
                                "denied.example", "10.2.2.3", 200
                                "both.example", "10.1.2.3", 403
                                "both.example", "10.2.2.3", 200
                                "both.example", "11.2.2.3", 403
                                // The network first: nobody elsewhere learns that a token is needed.
                                "perms.example", "11.2.2.3", 403
                                "perms.example", "10.2.2.3", 401
                            ] do
                            let! answer = from client host forwarded
                            Expect.equal answer.Status status $"{name}: {host} from {forwarded}"

                            if status = 403 then
                                Expect.equal (answer.Header "X-Kedge-Error-Type") "unauthorized" "type"
                                Expect.equal (answer.Header "X-Kedge-Error") "not from this network" "never which"
                })

            case "a gRPC call from elsewhere gets PERMISSION_DENIED" (fun () ->
                task {
                    for port in [ kedge.Value.GrpcPort; kedge.Value.HttpsPort ] do
                        use channel = Clients.grpc port None "inside.example"
                        let client = Echo.EchoClient channel

                        let call (address: string) =
                            Metadata()
                            |> fun m ->
                                m.Add("x-forwarded-for", address)
                                m

                        let! reply =
                            client.UnaryAsync(EchoRequest(Text = "hi"), call "10.1.2.3").ResponseAsync

                        Expect.equal reply.Text "hi" "inside"

                        let! error =
                            failure<RpcException> "the call" (fun () ->
                                client.UnaryAsync(EchoRequest(), call "11.1.2.3").ResponseAsync)

                        Expect.equal error.StatusCode StatusCode.PermissionDenied "outside"
                })

            case "explain says whether an address is admitted" (fun () ->
                task {
                    use scratch = new Scratch()

                    let file =
                        scratch.Write(
                            "d.json",
                            Json.director [ route "a.example" """{ "client_networks": ["10.0.0.0/8"] }""" ] []
                        )

                    let! code, out, _ =
                        run [ "explain"; "GET"; "https://a.example/"; director file; "--from=10.1.2.3" ]

                    Expect.equal code 0 "exit code"
                    Expect.contains out "  authorization: an address in 10.0.0.0/8" "the demand"
                    Expect.contains out "  from 10.1.2.3: admitted by its networks" "met"

                    let! _, out, _ =
                        run [ "explain"; "GET"; "https://a.example/"; director file; "--from=11.1.2.3" ]

                    Expect.contains out "  from 11.1.2.3: not admitted by its networks: 403 unauthorized" "not met"
                })

            case "check reports bad networks, and those from which nobody is admitted" (fun () ->
                task {
                    use scratch = new Scratch()

                    let bad =
                        scratch.Write(
                            "b.json",
                            Json.director [ route "a.example" """{ "client_networks": ["10.1.2.3/8"] }""" ] []
                        )

                    let! code, out, _ = run [ "check"; director bad ]
                    Expect.equal code 1 "an error"

                    Expect.stringContains
                        (String.Join('\n', out))
                        "a network without bits beyond its prefix: 10.0.0.0/8"
                        "the right one"

                    let covered =
                        scratch.Write(
                            "c.json",
                            Json.director
                                [
                                    route
                                        "a.example"
                                        """{ "client_networks": ["10.1.0.0/16", "11.0.0.0/8"],
                                             "denied_client_networks": ["10.0.0.0/9", "11.0.0.0/9"] }"""
                                ]
                                []
                        )

                    let! _, out, _ = run [ "check"; "--output=json"; director covered ]

                    let found =
                        items "findings" (json out)
                        |> List.filter (fun finding -> text "kind" finding = "network-never-allowed")

                    Expect.equal
                        (found |> List.map (text "path"))
                        [ "$.http.routes[0].authorization.client_networks[0]" ]
                        "the one that is covered"
                })

            case "networks alone do not protect a route, unless they are said to suffice" (fun () ->
                task {
                    use scratch = new Scratch()

                    let file =
                        scratch.Write(
                            "d.json",
                            Json.director
                                [
                                    route "a.example" """{ "client_networks": ["10.0.0.0/8"] }"""
                                    route "b.example" """{ "denied_client_networks": ["10.0.0.0/8"] }"""
                                ]
                                []
                        )

                    let openRoutes (flags: string list) =
                        task {
                            let! _, out, _ =
                                run ([ "check"; "--output=json"; "--require_authorization"; director file ] @ flags)

                            return
                                items "findings" (json out)
                                |> List.filter (fun finding -> text "kind" finding = "open-route")
                                |> List.map (text "path")
                        }

                    let! all = openRoutes []
                    Expect.equal all [ "$.http.routes[0]"; "$.http.routes[1]" ] "both"
                    let! rest = openRoutes [ "--networks_suffice" ]
                    Expect.equal rest [ "$.http.routes[1]" ] "the denied one is for nearly all"
                })

            case "diff says whether access is loosened or tightened, with a caller" (fun () ->
                task {
                    use scratch = new Scratch()

                    let write name authorization =
                        scratch.Write(name, Json.director [ route "a.example" authorization ] [])

                    let narrow = write "narrow.json" """{ "client_networks": ["10.0.0.0/9"] }"""
                    let wide = write "wide.json" """{ "client_networks": ["10.0.0.0/8"] }"""
                    let! code, out, _ = run [ "diff"; narrow; wide; "--deny=loosened" ]
                    Expect.equal code 1 "denied"

                    Expect.equal
                        (String.Join('\n', out).Replace(scratch.Path + "/", ""))
                        "route-changed
  - narrow.json:1: $.http.routes[0] host=a.example -> alpha
  + wide.json:1: $.http.routes[0] host=a.example -> alpha
    GET https://a.example/x
      went to narrow.json:1: $.http.routes[0] host=a.example -> alpha
      goes to wide.json:1: $.http.routes[0] host=a.example -> alpha
access-loosened
  - narrow.json:1: $.http.routes[0] host=a.example -> alpha
  + wide.json:1: $.http.routes[0] host=a.example -> alpha
    GET https://a.example/x
      from 10.128.0.0, with what the flags require: 403 → admitted
2 differences, 1 with requests that go elsewhere"
                        "text"

                    let! code, out, _ = run [ "diff"; wide; narrow; "--deny=loosened" ]
                    Expect.equal code 0 "tightened"
                    Expect.contains out "access-tightened" "kind"
                    let anyone = write "open.json" """{ "anonymous": true }"""
                    let! _, out, _ = run [ "diff"; wide; anyone ]
                    Expect.exists out (fun line -> line.EndsWith("403 → admitted", StringComparison.Ordinal)) "opened"
                })
        ]
