/// One static token instead of OIDC.
module Kedge.Tests.Authorization.StaticTokenTests

open System.IO
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

            case "it can come from a file, which keeps it off the command line" (fun () ->
                task {
                    use scratch = new Scratch()
                    let inFile = "another-horse-battery-staple"
                    Secrets.add inFile
                    let file = scratch.Write("token", inFile + "\n")

                    use! kedge =
                        start
                            http.Value
                            grpc.Value
                            [ "static.example", "{}" ]
                            [ $"--unsafe_bearer_token_proxy_auth_file={file}" ]

                    do! send kedge "static.example" inFile Passed "" "the token of the file"
                    do! send kedge "static.example" secret Outcome.unauthenticated "wrong" "another"
                    do! send kedge "static.example" "" Outcome.unauthenticated "needed" "none"
                    let commandLine = File.ReadAllText $"/proc/{kedge.Program.Id}/cmdline"
                    Expect.isFalse (commandLine.Contains inFile) "the command line"
                    let! flags = DebugPort.text kedge "/debug/flagz"
                    Expect.stringContains flags file "the file is named"
                    isNotIn kedge [ inFile ]
                })

            case
                "a file without a token, or next to another way to give one, ends the start with exit code 2"
                (fun () ->
                    task {
                        use scratch = new Scratch()
                        let empty = scratch.Write("empty", " \n")
                        let good = scratch.Write("good", "a-token-that-is-one")
                        let flag = "--unsafe_bearer_token_proxy_auth_file"

                        for flags, words in
                            [
                                [ $"{flag}={empty}" ], "holds no token"
                                [ $"{flag}={scratch.Path}/none" ], "no such file"
                                [ $"{flag}={good}"; "--unsafe_bearer_token_proxy_auth=x" ],
                                "cannot be used together with"
                                [
                                    $"{flag}={good}"
                                    "--server_oidc_provider_url=https://idp.example"
                                    "--server_oidc_client_id=x"
                                ],
                                "cannot be used together with"
                            ] do
                            let! code, _, errors =
                                KedgeProgram.RunToEnd(
                                    flags
                                    @ [ "--kedge_config_director_config={}"; "--kedge_config_backendpool_config={}" ]
                                )

                            Expect.equal code 2 words
                            let text = System.String.Join('\n', errors)
                            Expect.stringContains text words "reason"
                            Expect.stringContains text flag "flag"
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
