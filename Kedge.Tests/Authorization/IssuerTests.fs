/// Issuers of tokens in the configuration: docs/authorization.md#token-issuers.
module Kedge.Tests.Authorization.IssuerTests

open System
open System.IO
open System.Net.Http
open System.Runtime.InteropServices
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.Authorization.Calls
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private http = Shared.make (fun () -> new HttpPeer "issuers")
let private grpc = Shared.make (fun () -> new GrpcPeer "issuers")

/// An entry of `token_issuers`, with fields beyond the ones that are needed.
let private entry (name: string) (issuer: Issuer) (more: string) =
    $$"""{ "name": "{{name}}", "issuer": "{{issuer.Name}}", "audiences": ["{{issuer.Audience}}"],
           "perms_claim": "perms"{{more}} }"""

let private withIssuers (issuers: string list) (director: string) =
    let list = String.Join(",", issuers)
    $$"""{ "token_issuers": [{{list}}],{{director.TrimStart().Substring 1}}"""

let private files issuers routes =
    let director, pool = configuration http.Value grpc.Value routes
    withIssuers issuers director, pool

let private start issuers routes flags =
    let director, pool = files issuers routes
    Kedge.Start(director, pool, flags)

let private named (header: string) (token: Token) = [ header, $"Bearer {token.Text}" ]

/// Sends a request over HTTP/1.1, HTTP/2 and as gRPC to both ports: the status of each, in the terms of HTTP.
let private statuses (kedge: Kedge) (host: string) (headers: (string * string) list) =
    task {
        let ask (client: HttpClient) =
            task {
                use client = client
                let! answer = get client $"https://{host}/authorization" headers
                return answer.Status, answer.Header "WWW-Authenticate"
            }

        let call (port: int) =
            task {
                use channel = Clients.grpc port None $"{host}:443"
                let metadata = Metadata()

                for name, value in headers do
                    metadata.Add(name.ToLowerInvariant(), value)

                try
                    let! _ = Echo.EchoClient(channel).UnaryAsync(EchoRequest(), metadata).ResponseAsync
                    return StatusCode.OK
                with :? RpcException as e ->
                    return e.StatusCode
            }

        let! first = ask (Clients.http1 kedge.HttpsPort None)
        let! second = ask (Clients.http2 kedge.HttpsPort None)
        let! third = call kedge.GrpcPort
        let! fourth = call kedge.HttpsPort
        return [ first; second ], [ third; fourth ]
    }

let private expect kedge host headers status (challenge: string) what =
    task {
        let code =
            match status with
            | 200 -> StatusCode.OK
            | 401 -> StatusCode.Unauthenticated
            | 403 -> StatusCode.PermissionDenied
            | _ -> StatusCode.Unavailable

        let! answers, codes = statuses kedge host headers
        Expect.allEqual answers (status, challenge) what
        Expect.allEqual codes code what
    }

let private realm = "Bearer realm=\"kedge\""
let private invalid = "Bearer realm=\"kedge\", error=\"invalid_token\""

/// A key of an issuer with the same id as that of another one.
let private sameKid () =
    let staff, partners = new Issuer(), new Issuer()
    Expect.equal staff.Keys.Head.Id partners.Keys.Head.Id "the same key id"
    staff, partners

[<Tests>]
let tests =
    testList
        "token issuers"
        [
            case
                "a token of one issuer is not accepted by a route of the other, though their key ids are the same"
                (fun () ->
                    task {
                        let staff, partners = sameKid ()
                        use staff = staff
                        use partners = partners

                        use! kedge =
                            start
                                [ entry "staff" staff ""; entry "partners" partners "" ]
                                [
                                    "staff.example", """{ "token_issuers": ["staff"] }"""
                                    "partners.example", """{ "token_issuers": ["partners"] }"""
                                    "both.example", """{ "token_issuers": ["partners", "staff"] }"""
                                    "perms.example", """{ "token_issuers": ["staff"], "any_perms": ["shop.read"] }"""
                                    "flags.example", """{ "any_perms": ["shop.read"] }"""
                                ]
                                []

                        let ask host (token: Token) status challenge what =
                            expect kedge host (named "Proxy-Authorization" token) status challenge what

                        do! ask "staff.example" (staff.Token []) 200 "" "its own"
                        do! ask "partners.example" (partners.Token []) 200 "" "its own"
                        do! ask "both.example" (staff.Token []) 200 "" "either"
                        do! ask "both.example" (partners.Token []) 200 "" "either"
                        do! ask "staff.example" (partners.Token []) 401 invalid "the other's"
                        do! ask "partners.example" (staff.Token []) 401 invalid "the other's"
                        do! expect kedge "staff.example" [] 401 realm "no token at all"
                        do! ask "perms.example" (staff.Token [ "shop.read" ]) 200 "" "with the permission"
                        do! ask "perms.example" (staff.Token [ "other" ]) 403 "" "without it"
                        do! ask "flags.example" (staff.Token [ "shop.read" ]) 401 realm "the flags set up no issuer"
                        // Says that it is of the one, and is signed by the other.
                        let forged = staff.TokenBy(partners.Keys.Head, [ "shop.read" ])
                        do! ask "staff.example" forged 401 invalid "signed with the other's key"
                        do! ask "both.example" forged 401 invalid "signed with the other's key, both accepted"

                        let! valid =
                            DebugPort.metric
                                kedge
                                "kedge_token_verifications_total"
                                [ "issuer", "staff"; "result", "valid" ]

                        Expect.isGreaterThanOrEqual valid 12.0 "counted"

                        let! wrong =
                            DebugPort.metric
                                kedge
                                "kedge_token_verifications_total"
                                [ "issuer", "staff"; "result", "invalid" ]

                        Expect.isGreaterThanOrEqual wrong 8.0 "counted"

                        let! age =
                            DebugPort.metric kedge "kedge_issuer_keys_age_seconds" [ "issuer", "staff" ]

                        Expect.isLessThan age 600.0 "age of the keys"
                        Expect.isGreaterThanOrEqual age 0.0 "age of the keys"
                    })

            case "what an issuer does not accept: every faulty token, another algorithm, an old token" (fun () ->
                task {
                    use issuer = new Issuer()
                    use http = new HttpPeer "quiet"
                    use grpc = new GrpcPeer "quiet"
                    issuer.Keys <- [ SigningKey.Rsa("rs", "RS256"); SigningKey.Ec "es" ]

                    let director, pool =
                        configuration http grpc [ "a.example", """{ "token_issuers": ["staff"] }""" ]

                    let director =
                        withIssuers
                            [
                                entry
                                    "staff"
                                    issuer
                                    (sprintf
                                        ", \"jwks_uri\": \"%s/keys\", \"algorithms\": [\"ES256\"], \"clock_skew\": \"200s\""
                                        issuer.Name)
                            ]
                            director

                    use! kedge = Kedge.Start(director, pool, [])

                    let ec = issuer.TokenBy(issuer.Keys[1], [])
                    let ask (token: Token) = expect kedge "a.example" (named "Proxy-Authorization" token)
                    do! ask ec 200 "" "ES256"
                    do! ask (issuer.TokenBy(issuer.Keys[0], [])) 401 invalid "RS256 is not listed"
                    let ago seconds = DateTimeOffset.UtcNow.ToUnixTimeSeconds() - seconds
                    do! ask (ec.With [ "exp", box (ago 100L) ]) 200 "" "within the clock skew"
                    do! ask (ec.With [ "exp", box (ago 300L) ]) 401 invalid "beyond it"
                    issuer.Keys <- List.rev issuer.Keys
                    let before = reached http grpc

                    for what, token, _ in TokenFaults.all issuer [ "edge" ] do
                        // Which is within this clock skew.
                        if what <> "expired" && what <> "not valid yet" then
                            do! expect kedge "a.example" [ "Proxy-Authorization", $"Bearer {token}" ] 401 invalid what

                    Expect.equal (reached http grpc) before "nothing reaches the backends"
                })

            case "claims decide, and backends get those that the issuer names, whatever callers send" (fun () ->
                task {
                    use issuer = new Issuer()

                    let more =
                        """, "header": "AUTHORIZATION", "forward": "KEEP",
                             "forward_claims": { "x-user": "sub", "x-tenants": "tenant", "x-gone": "none" }"""

                    use removed = new Issuer()

                    let removes =
                        """, "header": "AUTHORIZATION", "forward_claims": { "x-user": "sub" }"""

                    use! kedge =
                        start
                            [ entry "staff" issuer more; entry "removed" removed removes ]
                            [
                                "a.example", """{ "token_issuers": ["staff"], "claims": { "tenant": ["a", "b"] } }"""
                                "r.example", """{ "token_issuers": ["removed"] }"""
                                "open.example", """{ "anonymous": true }"""
                                "none.example", "{}"
                            ]
                            []

                    let forged = [ "X-User", "root"; "x_user", "root"; "X-Gone", "root" ]
                    let token = (issuer.Token []).With [ "tenant", box [ "c"; "b" ] ]
                    do! expect kedge "a.example" (named "Authorization" token @ forged) 200 "" "with the claim"
                    let seen = Array.last http.Value.Received
                    Expect.equal (seen.Header "X-User") "tester" "the claim"
                    Expect.equal (seen.Header "X-Tenants") "c,b" "a list"
                    Expect.equal (seen.Header "X-Gone") "" "no claim, no header"
                    Expect.equal (seen.Header "X_User") "" "nor in another spelling"
                    Expect.equal (seen.Header "Authorization") $"Bearer {token.Text}" "kept"
                    let metadata = (Array.last grpc.Value.Calls).Metadata
                    Expect.contains metadata ("x-user", "tester") "gRPC"

                    Expect.isFalse
                        (metadata |> List.exists (fun (name, value) -> name = "x-gone" || value = "root"))
                        "gRPC"

                    for host in [ "open.example"; "none.example" ] do
                        do! expect kedge host forged 200 "" host
                        let seen = Array.last http.Value.Received

                        for name, _ in forged do
                            Expect.equal (seen.Header name) "" $"{host}: {name}"

                        let metadata = (Array.last grpc.Value.Calls).Metadata
                        Expect.isFalse (metadata |> List.exists (fun (_, value) -> value = "root")) host

                    // What is no token of an issuer's is the backend's.
                    do! expect kedge "none.example" [ "Authorization", "Basic YTpi" ] 200 "" "Basic"
                    Expect.equal ((Array.last http.Value.Received).Header "Authorization") "Basic YTpi" "forwarded"
                    do! expect kedge "r.example" (named "Authorization" (removed.Token [])) 200 "" "removed"
                    Expect.equal ((Array.last http.Value.Received).Header "Authorization") "" "removed"
                    Expect.equal ((Array.last http.Value.Received).Header "X-User") "tester" "removed"
                    let other = (issuer.Token []).With [ "tenant", box "c" ]
                    do! expect kedge "a.example" (named "Authorization" other) 403 "" "another tenant"
                    do! expect kedge "a.example" (named "Authorization" (issuer.Token [])) 403 "" "no tenant"
                    do! expect kedge "a.example" (named "Proxy-Authorization" token) 401 realm "in the wrong header"
                })

            case "an issuer that the flags set up, too, is reported" (fun () ->
                task {
                    use issuer = new Issuer()
                    use scratch = new Scratch()

                    let director, pool =
                        files
                            [ entry "staff" issuer ", \"header\": \"AUTHORIZATION\"" ]
                            [ "staff.example", """{ "token_issuers": ["staff"] }""" ]

                    let flags name =
                        [
                            $"--server_oidc_provider_url={name}"
                            $"--server_oidc_client_id={issuer.Audience}"
                        ]

                    let file = scratch.File "director.json"
                    File.WriteAllText(file, director)

                    let check name =
                        task {
                            let! _, output, _ =
                                run (
                                    [ "check"; "--output=json"; Kedge.Tests.EndToEnd.InspectionStage.director file ]
                                    @ flags name
                                )

                            return
                                items "findings" (json output)
                                |> List.map (fun finding -> text "kind" finding, text "path" finding)
                                |> List.filter (fun (kind, _) -> kind = "duplicate-issuer")
                        }

                    let! found = check issuer.Name
                    Expect.equal found [ "duplicate-issuer", "$.token_issuers[0].issuer" ] "the same"
                    let! found = check (issuer.Name + "2")
                    Expect.isEmpty found "another"
                    use! kedge = Kedge.Start(director, pool, flags issuer.Name)

                    do!
                        eventually "it is in the log" (fun () ->
                            kedge.Program.Output.Contains "the token issuer staff is the one that the flags set up")
                })

            case "the provider of the flags is the issuer `default`" (fun () ->
                task {
                    let staff, flags = sameKid ()
                    use staff = staff
                    use flags = flags

                    use! kedge =
                        start
                            [ entry "staff" staff ", \"header\": \"AUTHORIZATION\"" ]
                            [
                                "none.example", "{}"
                                "staff.example", """{ "token_issuers": ["staff"] }"""
                                "default.example", """{ "token_issuers": ["default"] }"""
                                "both.example", """{ "token_issuers": ["staff", "default"] }"""
                            ]
                            (flags.Flags @ [ "--server_oidc_required_perm=edge" ])

                    let ofFlags = named "Proxy-Authorization" (flags.Token [ "edge" ])
                    let ofStaff = named "Authorization" (staff.Token [ "edge" ])
                    do! expect kedge "none.example" ofFlags 200 "" "default"
                    do! expect kedge "default.example" ofFlags 200 "" "by name"
                    do! expect kedge "both.example" ofFlags 200 "" "both"
                    do! expect kedge "both.example" ofStaff 200 "" "both"
                    do! expect kedge "both.example" (ofFlags @ ofStaff) 200 "" "both tokens"
                    do! expect kedge "staff.example" ofStaff 200 "" "staff"
                    do! expect kedge "staff.example" ofFlags 401 realm "no token in its header"
                    do! expect kedge "none.example" ofStaff 401 realm "no token in its header"

                    do!
                        expect
                            kedge
                            "staff.example"
                            (named "Authorization" (staff.Token [ "other" ]))
                            403
                            ""
                            "what the flags require holds for every token"
                })

            case "an issuer that is away: unavailable until its keys are there, and others are not affected" (fun () ->
                task {
                    let away, here = sameKid ()
                    use away = away
                    use here = here
                    away.IsAway <- true

                    use! kedge =
                        start
                            [ entry "away" away ""; entry "here" here "" ]
                            [
                                "away.example", """{ "token_issuers": ["away"] }"""
                                "both.example", """{ "token_issuers": ["away", "here"] }"""
                            ]
                            []

                    let token = named "Proxy-Authorization" (away.Token [])
                    do! expect kedge "away.example" token 503 "" "unavailable"
                    do! expect kedge "both.example" token 503 "" "unavailable"
                    do! expect kedge "both.example" (named "Proxy-Authorization" (here.Token [])) 200 "" "the other"
                    let! text = DebugPort.text kedge "/metrics"
                    Expect.isFalse (text.Contains "kedge_issuer_keys_age_seconds{issuer=\"away\"") "no age yet"
                    away.IsAway <- false

                    do!
                        soon
                            patience
                            "the keys are fetched"
                            (fun () ->
                                task {
                                    use client = Clients.http1 kedge.HttpsPort None
                                    let! answer = get client "https://away.example/authorization" token
                                    return answer.Status
                                })
                            (fun status -> status = 200)

                    away.IsAway <- true

                    do!
                        expect
                            kedge
                            "away.example"
                            (named "Proxy-Authorization" (away.Token []))
                            200
                            ""
                            "known keys stay"
                })

            case
                "keys rotate: one fetch for a new key, however many tokens have it, and none for invented ones"
                (fun () ->
                    task {
                        let staff, partners = sameKid ()
                        use staff = staff
                        use partners = partners

                        use! kedge =
                            start
                                [ entry "staff" staff ""; entry "partners" partners "" ]
                                [
                                    "a.example", """{ "token_issuers": ["staff"] }"""
                                    "b.example", """{ "token_issuers": ["partners"] }"""
                                ]
                                []

                        do! expect kedge "a.example" (named "Proxy-Authorization" (staff.Token [])) 200 "" "before"
                        let old = staff.Token []
                        let fetches, others = staff.KeyFetches, partners.KeyFetches
                        staff.Keys <- [ SigningKey.Ec "second" ]
                        do! expect kedge "a.example" (named "Proxy-Authorization" (staff.Token [])) 200 "" "new key"
                        do! expect kedge "a.example" (named "Proxy-Authorization" old) 401 invalid "old key"

                        let invented =
                            [ for i in 1..20 -> staff.TokenBy(SigningKey.Ec $"invented-{i}", []).Text ]

                        let! answers =
                            Task.WhenAll
                                [
                                    for token in invented ->
                                        task {
                                            use client = Clients.http1 kedge.HttpsPort None

                                            let! answer =
                                                get
                                                    client
                                                    "https://a.example/"
                                                    [ "Proxy-Authorization", $"Bearer {token}" ]

                                            return answer.Status
                                        }
                                ]

                        Expect.allEqual answers 401 "invented"
                        Expect.equal staff.KeyFetches (fetches + 1) "one fetch"
                        Expect.equal partners.KeyFetches others "and none at the other"
                    })

            case "a reload adds and removes issuers" (fun () ->
                task {
                    let staff, partners = sameKid ()
                    use staff = staff
                    use partners = partners

                    use! kedge =
                        start [ entry "staff" staff "" ] [ "a.example", """{ "token_issuers": ["staff"] }""" ] []

                    let ofStaff = named "Proxy-Authorization" (staff.Token [])
                    let ofPartners = named "Proxy-Authorization" (partners.Token [])
                    do! expect kedge "a.example" ofStaff 200 "" "before"
                    do! expect kedge "a.example" ofPartners 401 invalid "before"

                    let director, _ =
                        files [ entry "partners" partners "" ] [ "a.example", """{ "token_issuers": ["partners"] }""" ]

                    File.WriteAllText(kedge.DirectorFile, director)
                    kedge.Program.Signal PosixSignal.SIGHUP

                    do!
                        soon
                            patience
                            "the new issuer"
                            (fun () ->
                                task {
                                    use client = Clients.http1 kedge.HttpsPort None
                                    let! answer = get client "https://a.example/" ofPartners
                                    return answer.Status
                                })
                            (fun status -> status = 200)

                    do! expect kedge "a.example" ofStaff 401 invalid "after"
                })

            case "check, explain and diff" (fun () ->
                task {
                    use scratch = new Scratch()

                    let write name (issuers: string) (authorization: string) =
                        scratch.Write(
                            name,
                            $$"""{ "token_issuers": [{{issuers}}], "http": { "routes": [
                                   { "backend_name": "aa", "host_matcher": "a.example", "authorization": {{authorization}} } ] } }"""
                        )

                    let staff (audiences: string) =
                        $$"""{ "name": "staff", "issuer": "https://id.example.com", "audiences": [{{audiences}}],
                               "perms_claim": "perms" }"""

                    let unknown =
                        write "u.json" (staff "\"kedge\"") """{ "token_issuers": ["stuff"] }"""

                    let! code, out, _ = run [ "check"; "--output=json"; director unknown ]
                    Expect.equal code 1 "an error"
                    let found = (items "findings" (json out)).Head
                    Expect.equal (text "kind" found) "issuer-unknown" "kind"
                    Expect.equal (text "severity" found) "error" "severity"
                    Expect.equal (text "path" found) "$.http.routes[0].authorization.token_issuers[0]" "path"
                    Expect.stringContains (text "message" found) "did you mean staff?" "a suggestion"

                    let narrow =
                        write
                            "narrow.json"
                            (staff "\"kedge\"")
                            """{ "token_issuers": ["staff"], "any_perms": ["read"], "claims": { "tenant": ["a", "b"] } }"""

                    let explain (claims: string) =
                        task {
                            let! code, out, _ =
                                run
                                    [
                                        "explain"
                                        "GET"
                                        "https://a.example/"
                                        director narrow
                                        $"--token-claims={claims}"
                                    ]

                            Expect.equal code 0 "exit code"
                            return out
                        }

                    let! out =
                        explain
                            """{ "iss": "https://id.example.com", "aud": ["kedge"], "perms": ["read"], "tenant": "c" }"""

                    Expect.contains
                        out
                        "  authorization: a token of staff; any permission of read; the claim tenant is a or b"
                        "the demands"

                    Expect.contains out "  token: of staff: accepted, if its signature and times are valid" "issuer"

                    Expect.contains out "  any permission of read: met" "permission"
                    Expect.contains out "  claim tenant of a, b: not met: 403 unauthorized" "claim"
                    let! out = explain """{ "iss": "https://other.example" }"""
                    Expect.contains out "  token: of no issuer that is known: 401 unauthorized" "unknown"
                    let! out = explain """{ "iss": "https://id.example.com", "aud": "others" }"""

                    Expect.contains
                        out
                        "  token: of staff, for another audience than kedge: 401 unauthorized"
                        "audience"

                    let! code, _, error =
                        run [ "explain"; "GET"; "https://a.example/"; director narrow; "--token-claims=[]" ]

                    Expect.equal code 2 "bad claims"

                    Expect.exists
                        error
                        (fun line -> line.Contains "--token-claims: must be a JSON object")
                        "the reason"

                    let wide =
                        write
                            "wide.json"
                            (staff "\"kedge\", \"shop\"")
                            """{ "token_issuers": ["staff"], "any_perms": ["read"], "claims": { "tenant": ["a", "b"] } }"""

                    let! code, out, _ = run [ "diff"; narrow; wide; "--deny=loosened" ]
                    Expect.equal code 1 "loosened"
                    Expect.contains out "token-issuer-changed" "the issuer"
                    Expect.exists out (fun line -> line.EndsWith(": loosened", StringComparison.Ordinal)) "direction"
                    Expect.contains out "access-loosened" "for the route"

                    Expect.contains
                        out
                        "      with a token of staff for shop, with the permission read, with tenant a: 401 → admitted"
                        "a caller"

                    let! code, out, _ = run [ "diff"; wide; narrow; "--deny=loosened" ]
                    Expect.equal code 0 "tightened"
                    Expect.contains out "access-tightened" "for the route"
                    let none = write "none.json" (staff "\"kedge\"") "{}"
                    let! code, out, _ = run [ "diff"; none; narrow; "--deny=loosened" ]
                    Expect.equal code 0 "a demand more"
                    Expect.contains out "access-tightened" "a demand more"
                    let! code, out, _ = run [ "diff"; narrow; none; "--deny=loosened" ]
                    Expect.equal code 1 "a demand less"
                    Expect.contains out "access-loosened" "a demand less"
                })
        ]
