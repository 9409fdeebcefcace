/// What a route or an ad-hoc rule demands beyond the flags.
module Kedge.Tests.Authorization.RouteRuleTests

open Expecto
open Kedge.Tests.Authorization.Calls
open Kedge.Tests.EndToEnd
open Kedge.Tests.Harness

let private http = Shared.make (fun () -> new HttpPeer "rules")
let private grpc = Shared.make (fun () -> new GrpcPeer "rules")
let private issuer = Shared.make (fun () -> new Issuer())

let private routes =
    [
        "plain.example", "{}"
        "open.example", """{ "anonymous": true }"""
        "any.example", """{ "any_perms": ["read", "write"] }"""
        "all.example", """{ "all_perms": ["read", "write"] }"""
        "dns.example", """{ "client_cert_sans": ["*.agents.example"] }"""
        "uri.example", """{ "client_cert_sans": ["spiffe://td/agent"] }"""
        "email.example", """{ "client_cert_sans": ["ops@example.com"] }"""
        "both.example", """{ "all_perms": ["read"], "client_cert_sans": ["a.agents.example"] }"""
    ]

let private optionalCertificates =
    [
        $"--server_tls_client_ca_files={Certificates.authority.Value.File}"
        "--server_tls_client_cert_required=false"
    ]

let private server =
    Shared.make (fun () ->
        (start http.Value grpc.Value routes (issuer.Value.Flags @ optionalCertificates)).GetAwaiter().GetResult())

let private named names = Certificates.authority.Value.ClientNamed names
let private agent = lazy named [ "b.agents.example"; "spiffe://td/agent" ]

let private exact =
    lazy named [ "A.agents.example"; "Ops@example.com"; "ops@EXAMPLE.com" ]

let private other =
    lazy
        named
            [
                "agents.example"
                "x.y.agents.example"
                "spiffe://td/agent/x"
                "ops@example.org"
            ]

let private expect host identity permissions expected words what =
    let headers =
        match permissions with
        | None -> []
        | Some permissions -> [ "Proxy-Authorization", $"Bearer {(issuer.Value.Token permissions).Text}" ]

    sendWith server.Value identity host headers expected words what

[<Tests>]
let tests =
    testList
        "authorization of routes"
        [
            case "without demands of its own a route takes every valid token" (fun () ->
                task {
                    do! expect "plain.example" None (Some []) Passed "" "token"
                    do! expect "plain.example" None None Outcome.unauthenticated "needed" "none"
                })

            case "an anonymous route takes everyone, whatever the token" (fun () ->
                task {
                    do! expect "open.example" None None Passed "" "none"
                    do! send server.Value "open.example" "nonsense" Passed "" "a bad one"
                })

            case "any_perms and all_perms" (fun () ->
                task {
                    do! expect "any.example" None (Some [ "write" ]) Passed "" "one of them"
                    do! expect "any.example" None (Some [ "other" ]) Outcome.forbidden "read, write" "none of them"
                    do! expect "any.example" None None Outcome.unauthenticated "needed" "no token"
                    do! expect "all.example" None (Some [ "write"; "read"; "other" ]) Passed "" "all"
                    do! expect "all.example" None (Some [ "write" ]) Outcome.forbidden "read" "one of them"
                })

            case "client_cert_sans: DNS, URI and email" (fun () ->
                task {
                    let token = Some []

                    for host, good in [ "dns.example", agent; "uri.example", agent; "email.example", exact ] do
                        do! expect host (Some good.Value) token Passed "" $"{host}, good"
                        do! expect host (Some other.Value) token Outcome.forbidden "none of the names" $"{host}, other"
                        do! expect host None token Outcome.forbidden "certificate is needed" $"{host}, none"
                        let unnamed = Some Certificates.client.Value
                        do! expect host unnamed token Outcome.forbidden "none of the names" $"{host}, unnamed"
                        do! expect host (Some good.Value) None Outcome.unauthenticated "token" $"{host}, no token"
                })

            case "both demands must be met" (fun () ->
                task {
                    do! expect "both.example" (Some exact.Value) (Some [ "read" ]) Passed "" "both"

                    do!
                        expect
                            "both.example"
                            (Some agent.Value)
                            (Some [ "read" ])
                            Outcome.forbidden
                            "names"
                            "permission"

                    do! expect "both.example" (Some exact.Value) (Some []) Outcome.forbidden "read" "certificate"
                })

            case
                "rules hold without flags too: certificates decide, and permissions that nobody can have deny"
                (fun () ->
                    task {
                        use! kedge = start http.Value grpc.Value routes optionalCertificates
                        do! sendWith kedge None "plain.example" [] Passed "" "plain"
                        do! sendWith kedge (Some agent.Value) "dns.example" [] Passed "" "certificate"
                        do! sendWith kedge None "dns.example" [] Outcome.forbidden "certificate" "no certificate"
                        let token = (issuer.Value.Token [ "read"; "write" ]).Text
                        do! send kedge "all.example" token Outcome.unauthenticated "not set up" "permissions"
                    })

            case "ad-hoc rules have demands, which come before any other answer" (fun () ->
                task {
                    let rule (name: string) (authorization: string) =
                        $$"""{ "dns_name_matcher": "{{name}}", "port": { "allowed": [{{http.Value.Port}}] }, "authorization": {{authorization}} }"""

                    let director =
                        Json.directorWithAdhoc
                            []
                            []
                            [
                                rule "127.0.0.1" """{ "all_perms": ["adhoc"] }"""
                                rule "open.test" """{ "anonymous": true }"""
                            ]

                    use! kedge =
                        Kedge.Start(director, "{}", "--adhoc_allow_loopback" :: issuer.Value.Flags)

                    use client = Clients.http1 kedge.HttpsPort None

                    let ask (authority: string) permissions =
                        task {
                            let headers =
                                match permissions with
                                | None -> []
                                | Some granted ->
                                    [ "Proxy-Authorization", $"Bearer {(issuer.Value.Token granted).Text}" ]

                            let! answer = Stage.get client $"https://{authority}/adhoc-rule" headers
                            return answer.Status
                        }

                    let expect authority permissions status =
                        task {
                            let! actual = ask authority permissions
                            Expect.equal actual status $"{authority} with %A{permissions}"
                        }

                    do! expect $"127.0.0.1:{http.Value.Port}" (Some [ "adhoc" ]) 200
                    do! expect $"127.0.0.1:{http.Value.Port}" (Some [ "read" ]) 403
                    do! expect $"127.0.0.1:{http.Value.Port}" None 401
                    do! expect "127.0.0.1:1" None 401
                    do! expect "127.0.0.1:1" (Some [ "adhoc" ]) 400
                    do! expect "open.test:1" None 400
                    Expect.equal (http.Value.ReceivedOn "/adhoc-rule").Length 1 "one request arrived"
                })
        ]
