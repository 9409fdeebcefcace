/// One static token instead of OIDC.
module Kedge.Tests.Authorization.StaticTokenTests

open Expecto
open Kedge.Tests.Authorization.Calls
open Kedge.Tests.Harness

let private http = Shared.make (fun () -> new HttpPeer "static")
let private grpc = Shared.make (fun () -> new GrpcPeer "static")
let private secret = "correct-horse-battery-staple"

let private server =
    Shared.make (fun () ->
        Secrets.add secret

        (start
            http.Value
            grpc.Value
            [ "static.example", "{}"; "perms.example", """{ "any_perms": ["read"] }""" ]
            [ $"--unsafe_bearer_token_proxy_auth={secret}"; "--log_level=debug" ])
            .GetAwaiter()
            .GetResult())

[<Tests>]
let tests =
    testList
        "static bearer token"
        [
            case "the token passes, any other does not" (fun () ->
                task {
                    do! send server.Value "static.example" secret Passed "" "the token"

                    for wrong in [ secret + "x"; secret.Substring 1; secret.ToUpperInvariant(); "x" ] do
                        do! send server.Value "static.example" wrong Outcome.unauthenticated "wrong" wrong

                    do! send server.Value "static.example" "" Outcome.unauthenticated "needed" "none"
                })

            case "it has no permissions" (fun () ->
                send server.Value "perms.example" secret Outcome.forbidden "read" "permissions")

            case "it goes no further and into no log" (fun () ->
                task {
                    do! send server.Value "static.example" secret Passed "" "the token"
                    Expect.equal ((Array.last http.Value.Received).Header "Proxy-Authorization") "" "header"
                    isNotIn server.Value [ secret ]
                })
        ]
