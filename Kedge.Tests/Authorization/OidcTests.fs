/// Tokens of an OIDC provider: docs/authorization.md#the-token.
module Kedge.Tests.Authorization.OidcTests

open System
open System.Net.Http
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Authorization.Calls
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private http = Shared.make (fun () -> new HttpPeer "guarded")
let private grpc = Shared.make (fun () -> new GrpcPeer "guarded")
let private issuer = Shared.make (fun () -> new Issuer())

let private server =
    Shared.make (fun () ->
        (start
            http.Value
            grpc.Value
            [ "guarded.example", "{}" ]
            (issuer.Value.Flags
             @ [
                 "--server_oidc_required_perm=edge"
                 "--server_oidc_whitelist_perms=read,write"
                 "--server_enable_oidc_for_debug_endpoints"
                 "--log_level=debug"
             ]))
            .GetAwaiter()
            .GetResult())

let private send token expected words what = Calls.send server.Value "guarded.example" token expected words what
let private permitted () = issuer.Value.Token [ "edge"; "read" ]

/// Runs the body, after which the backends must have got no request more than before.
let private nothingReaches (body: unit -> Task<unit>) =
    task {
        let before = reached http.Value grpc.Value
        do! body ()
        Expect.equal (reached http.Value grpc.Value) before "requests at the backends"
    }

let private tests =
    [
        case "a valid token with the permissions passes" (fun () ->
            task {
                let before = reached http.Value grpc.Value
                do! send (permitted().Text) Passed "" "valid"
                Expect.equal (reached http.Value grpc.Value) (before + 4) "each way once"
                // A second time: from what the server remembers.
                let token = permitted().Text
                do! send token Passed "" "first"
                do! send token Passed "" "again"
            })

        case "the token goes no further, the caller's Authorization does" (fun () ->
            task {
                let secret = permitted().Text

                let headers =
                    [
                        "Proxy-Authorization", $"Bearer {secret}"
                        "Authorization", "Basic YmFja2VuZA=="
                    ]

                do! sendWith server.Value None "guarded.example" headers Passed "" "both"
                let request = http.Value.Received |> Array.last
                Expect.equal (request.Header "Proxy-Authorization") "" "HTTP"
                Expect.equal (request.Header "Authorization") "Basic YmFja2VuZA==" "HTTP"
                let metadata = (Array.last grpc.Value.Calls).Metadata
                Expect.isEmpty (metadata |> List.filter (fun (name, _) -> name = "proxy-authorization")) "gRPC"
                Expect.contains metadata ("authorization", "Basic YmFja2VuZA==") "gRPC"
            })

        case "without a token: unauthenticated, also where no route is" (fun () ->
            nothingReaches (fun () ->
                task {
                    do! send "" Outcome.unauthenticated "token is needed" "none"
                    do! Calls.send server.Value "nowhere.example" "" Outcome.unauthenticated "needed" "no route"
                    let nowhere = Refused(502, Grpc.Core.StatusCode.Unimplemented)
                    do! Calls.send server.Value "nowhere.example" (permitted().Text) nowhere "route" "no route, token"
                }))

        case "another scheme, or two headers, are no token" (fun () ->
            nothingReaches (fun () ->
                task {
                    let token = permitted().Text

                    let send headers what =
                        sendWith
                            server.Value
                            None
                            "guarded.example"
                            headers
                            Outcome.unauthenticated
                            "Proxy-Authorization"
                            what

                    do! send [ "Proxy-Authorization", "Basic dXNlcjpwYXNz" ] "Basic"
                    do! send [ "Proxy-Authorization", token ] "no scheme"

                    // As two lines; a client library that joins them sends what is no token either.
                    use client = Clients.http2 server.Value.HttpsPort None

                    let twice =
                        [
                            "Proxy-Authorization", $"Bearer {token}"
                            "Proxy-Authorization", $"Bearer {token}"
                        ]

                    let! answer = get client "https://guarded.example/" twice
                    Expect.equal answer.Status 401 "two"
                }))

        case "every faulty token is refused with the reason" (fun () ->
            nothingReaches (fun () ->
                task {
                    let faults = TokenFaults.all issuer.Value [ "edge"; "read" ]
                    Expect.isGreaterThan faults.Length 15 "many ways to be wrong"

                    for what, token, words in faults do
                        do! send token Outcome.unauthenticated words what
                }))

        case "tokens of every type that is meant to be presented pass" (fun () ->
            task {
                for kind in [ "JWT"; "jwt"; "at+jwt"; "application/at+JWT" ] do
                    let token = (permitted().WithHeader [ "typ", kind ]).Text
                    do! Calls.send server.Value "guarded.example" token Passed "" kind

                let untyped = permitted ()

                let token =
                    { untyped with
                        Header = untyped.Header |> List.filter (fun (name, _) -> name <> "typ")
                    }

                do! Calls.send server.Value "guarded.example" token.Text Passed "" "no type"
            })

        case "a token that is too long is refused unread" (fun () ->
            nothingReaches (fun () ->
                task {
                    for size, padding in [ "17 KB", 13_000; "100 KB", 75_000 ] do
                        let long = (permitted().With [ "padding", box (String('x', padding)) ]).Text
                        do! send long Outcome.unauthenticated "too long" size
                }))

        case "a claim within others is found by its path, also where names have dots" (fun () ->
            task {
                for path, claim in
                    [
                        "realm_access.roles", ("realm_access", box (dict [ "roles", [ "edge" ] ]))
                        "https://a.example/roles", ("https://a.example/roles", box [ "edge" ])
                        "resource_access.my.client.roles",
                        ("resource_access", box (dict [ "my.client", dict [ "roles", [ "edge" ] ] ]))
                    ] do
                    use! kedge =
                        start
                            http.Value
                            grpc.Value
                            [ "guarded.example", "{}" ]
                            (issuer.Value.Flags
                             @ [ $"--server_oidc_perms_claim={path}"; "--server_oidc_required_perm=edge" ])

                    let token = (issuer.Value.Token []).Without("perms").With [ claim ]
                    do! Calls.send kedge "guarded.example" token.Text Passed "" path
                    let other = (issuer.Value.Token [ "edge" ]).Text
                    do! Calls.send kedge "guarded.example" other Outcome.forbidden "edge" $"{path}: another claim"
            })

        case "a valid token without the permissions is forbidden, and they are named" (fun () ->
            nothingReaches (fun () ->
                task {
                    let send permissions words =
                        send (issuer.Value.Token permissions).Text Outcome.forbidden words $"%A{permissions}"

                    do! send [] "edge"
                    do! send [ "read" ] "edge"
                    do! send [ "edge" ] "read, write"
                    do! send [ "edge"; "Read" ] "read, write"
                    do! send [ "edge read" ] "edge"
                    let noClaim = (issuer.Value.Token []).Without("perms").Text
                    do! Calls.send server.Value "guarded.example" noClaim Outcome.forbidden "edge" "no claim"
                }))

        case "permissions may be a text with spaces; other forms grant nothing" (fun () ->
            task {
                let perms (value: objnull) = (permitted().With [ "perms", value ]).Text
                do! send (perms "write edge") Passed "" "text"
                do! send (perms [ "other"; "edge"; "write" ]) Passed "" "list"
                do! send (perms (dict [ "edge", true; "read", true ])) Outcome.forbidden "edge" "object"
                do! send (perms 7) Outcome.forbidden "edge" "number"
                do! send (perms null) Outcome.forbidden "edge" "null"
            })

        case "an audience list and times within the clock skew are fine" (fun () ->
            task {
                let now = DateTimeOffset.UtcNow.ToUnixTimeSeconds()
                let good = permitted ()
                let audiences = box [ "others"; issuer.Value.Audience ]
                do! send (good.With [ "aud", audiences ]).Text Passed "" "audience"
                do! send (good.With [ "exp", box (now - 5L) ]).Text Passed "" "just expired"
                do! send (good.With [ "nbf", box (now + 5L) ]).Text Passed "" "nearly valid"
                do! send (good.With [ "exp", box 253402300799L ]).Text Passed "" "expires in the year 9999"
            })

        case "debug pages need the same; health and readiness do not" (fun () ->
            task {
                use client = new HttpClient()

                let page (path: string) (token: string) =
                    task {
                        let request = new HttpRequestMessage(HttpMethod.Get, server.Value.DebugUrl path)

                        if token <> "" then
                            request.Headers.TryAddWithoutValidation("Proxy-Authorization", $"Bearer {token}")
                            |> ignore

                        let! response = client.SendAsync request
                        return int response.StatusCode
                    }

                let expect path token status =
                    task {
                        let! actual = page path token
                        Expect.equal actual status path
                    }

                do! expect "/_healthz" "" 200
                do! expect "/_readyz" "" 200
                do! expect "/_version" "" 401
                do! expect "/no-such-page" "" 401
                do! expect "/_version" (issuer.Value.Token []).Text 403
                do! expect "/_version" (permitted().Text) 200
            })

        case "no token is in the log, not even at debug level" (fun () ->
            task {
                let secrets =
                    permitted().Text
                    :: [ for _, token, _ in TokenFaults.all issuer.Value [ "edge" ] -> token ]

                for secret in secrets do
                    let! _ = status server.Value "guarded.example" secret
                    ()

                Expect.isNonEmpty server.Value.Program.Output "something was said"
                // The parts that tokens share, such as their headers, are no secrets.
                isNotIn server.Value [ for secret in secrets -> secret.Substring(secret.IndexOf '.' + 1) ]
            })
    ]

[<Tests>]
let oidc = testSequencedGroup "OIDC tokens" (testList "OIDC tokens" tests)
