/// The commands of winch beside running it.
module Kedge.Client.Tests.Winch.CommandTests

open System
open System.IO
open System.Net.Http
open System.Text.Json
open Expecto
open Kedge.Client.Tests.Behind
open Kedge.Client.Tests.Mapping.Files
open Kedge.Client.Tests.Winch.Stage
open Kedge.Tests.Harness

let private lines (text: string array) = String.Join('\n', text)

let private simple =
    """{ "routes": [
           { "direct": { "key": "only.example", "url": "https://kedge.example" }, "protocol": "GRPC" },
           { "regexp": { "exp": "^[a-z]+[.]prod[.]example$", "url": "https://kedge.example:8443" },
             "proxy_auth": "proxy" } ] }"""

let private simpleSources =
    """{ "auth_sources": [ { "name": "proxy", "token": { "token": "a-token-of-command-tests" } } ] }"""

/// Runs a command with these files in a directory of their own.
let private run (mapper: string) (sources: string) (arguments: string list) =
    task {
        use scratch = new Scratch()

        return!
            Winch.Run(
                scratch.Path,
                arguments
                @ [
                    $"""--server_mapper_config_path={scratch.Write("mapper.json", mapper)}"""
                    if sources <> "" then
                        $"""--server_auth_config_path={scratch.Write("auth.json", sources)}"""
                ],
                []
            )
    }

[<Tests>]
let tests =
    testList
        "winch, commands"
        [
            case "check: good files, warnings, errors with their places" (fun () ->
                task {
                    let! code, output, _ = run simple simpleSources [ "check" ]
                    Expect.equal (code, lines output) (0, "2 routes, 1 auth sources, 0 warnings") "good"

                    let loose =
                        """{ "routes": [ { "regexp": { "exp": "[.]example", "url": "https://kedge.example" } } ] }"""

                    let! code, output, _ = run loose "" [ "check" ]
                    Expect.equal code 0 "warnings are no errors"
                    Expect.stringContains (lines output) "warning: " "a warning"
                    let! code, _, _ = run loose "" [ "check"; "--strict" ]
                    Expect.equal code 1 "strict"

                    let! code, output, _ =
                        run
                            """{ "routes": [ { "regexp": { "exp": "(", "url": "https://k.example" } } ] }"""
                            ""
                            [ "check" ]

                    Expect.equal code 1 "bad"
                    Expect.stringContains (lines output) "mapper.json:1:" "place"
                    Expect.stringContains (lines output) "$.routes[0].regexp.exp" "path"
                })

            case "commands take the command line of the proxy, and check judges it" (fun () ->
                task {
                    let! _, help, _ = Winch.Run(Executable.root, [ "run"; "--help" ], [])

                    let flags =
                        [
                            for line in help do
                                match line.Trim().Split([| ' '; '='; ',' |], 2) with
                                | [| flag; _ |] when flag.StartsWith("--", StringComparison.Ordinal) -> flag
                                | _ -> ()
                        ]
                        |> List.except [ "--help"; "--version" ]

                    Expect.isGreaterThan flags.Length 25 (lines help)

                    for command in
                        [
                            [ "check" ]
                            [ "explain"; "http://a.prod.example/" ]
                            [ "pac" ]
                            [ "env" ]
                            [ "token"; "proxy" ]
                        ] do
                        let given =
                            [
                                "--server_bind_address=127.0.0.1"
                                "--server_grpc_port=0"
                                "--client_insecure"
                                "--server_metrics_path=/m"
                                "--log_level=debug"
                                "--cors_allowed_origin=http://a.example"
                                "--winch_reverseproxy_buffer_count=1"
                            ]

                        let! code, output, errors = run simple simpleSources (command @ given)
                        Expect.equal code 0 (lines (Array.append output errors))

                        // Every other flag is known, too: a value that is wrong for it is reported, not the flag.
                        let! _, _, errors =
                            run simple simpleSources (command @ [ for flag in flags -> flag + "=?" ])

                        Expect.isFalse (lines errors |> _.Contains("unknown flag")) (lines errors)

                    for flag, part in
                        [
                            "--server_bind_address=0.0.0.0", "is not a loopback address"
                            "--server_http_monitoring_address=nowhere", "'nowhere' is not an address and a port"
                            "--pac_file=/no/such.pac", "/no/such.pac"
                        ] do
                        let! code, output, _ = run simple simpleSources [ "check"; flag ]
                        Expect.equal code 1 flag
                        Expect.stringContains (lines output) part flag
                })

            case "explain: the rule, the kedge, the credentials, the PAC" (fun () ->
                task {
                    let! code, output, _ =
                        run simple simpleSources [ "explain"; "http://a.prod.example/x" ]

                    Expect.equal code 0 (lines output)

                    for part in
                        [
                            "routes[0] does not match: is not for HTTP"
                            "routes[1] matches"
                            "kedge: https://kedge.example:8443"
                            "for the kedge: credentials of proxy; for the service: no credentials"
                            "PAC: PROXY 127.0.0.1:8070"
                        ] do
                        Expect.stringContains (lines output) part part

                    let! _, output, _ =
                        run simple simpleSources [ "explain"; "--grpc"; "only.example:50051" ]

                    Expect.stringContains (lines output) "routes[0] matches" "gRPC"
                    let! _, output, _ = run simple simpleSources [ "explain"; "https://a.prod.example/" ]
                    Expect.stringContains (lines output) "PAC: DIRECT" "https"
                    let! _, output, _ = run simple simpleSources [ "explain"; "elsewhere.example" ]
                    Expect.stringContains (lines output) "to the host itself, without credentials" "not mapped"
                    let! code, _, errors = run simple simpleSources [ "explain"; "http://" ]
                    Expect.equal code 2 "bad URL"
                    Expect.stringContains (lines errors) "is not a URL with a host" "says so"
                })

            case "pac: the script that the running winch serves, and its answer for a URL" (fun () ->
                task {
                    use scratch = new Scratch()
                    let mapper = scratch.Write("mapper.json", usual ())
                    let auth = scratch.Write("auth.json", sources)

                    let flags =
                        [
                            $"--server_mapper_config_path={mapper}"
                            $"--server_auth_config_path={auth}"
                            $"--server_http_port={winch.Value.Port}"
                        ]

                    let! code, output, _ = Winch.Run(scratch.Path, "pac" :: flags, [])
                    Expect.equal code 0 "exit code"
                    // The kedge that is down has another port in each file; the PAC has no kedges.
                    use! response = Winch.Direct.GetAsync(winch.Value.Url "/wpad.dat")
                    let! served = response.Content.ReadAsStringAsync()
                    Expect.equal (lines output) (served.TrimEnd '\n') "the same script"

                    Expect.equal
                        (string response.Content.Headers.ContentType)
                        "application/x-ns-proxy-autoconfig"
                        "media type"

                    let script = Script served

                    for url, host in
                        [
                            "http://plain.prod.test/", "plain.prod.test"
                            "https://plain.prod.test/", "plain.prod.test"
                            "https://tls.tunnel.test/", "tls.tunnel.test"
                            "http://elsewhere.test/", "elsewhere.test"
                            "http://127.0.0.1/", "127.0.0.1"
                        ] do
                        let! _, output, _ = Winch.Run(scratch.Path, "pac" :: $"--test={url}" :: flags, [])
                        Expect.equal (lines output) (script.Find(url, host)) url

                    use request = new HttpRequestMessage(HttpMethod.Get, winch.Value.Url "/proxy.pac")
                    request.Headers.IfNoneMatch.Add(nonNull response.Headers.ETag)
                    use! again = Winch.Direct.SendAsync request
                    Expect.equal (int again.StatusCode) 304 "not modified"
                })

            case "env prints what shells read, and exec runs a command with it" (fun () ->
                task {
                    use scratch = new Scratch()

                    let flags =
                        [
                            $"""--server_mapper_config_path={scratch.Write("mapper.json", usual ())}"""
                            $"""--server_auth_config_path={scratch.Write("auth.json", sources)}"""
                        ]

                    let! _, output, _ =
                        Winch.Run(scratch.Path, "env" :: "--server_http_port=8123" :: flags, [])

                    Expect.contains output "export http_proxy='http://127.0.0.1:8123'" "bash"
                    Expect.contains output "export https_proxy='http://127.0.0.1:8123'" "a route takes CONNECT"

                    let! _, output, _ =
                        Winch.Run(scratch.Path, "env" :: "--shell=fish" :: "--unset" :: flags, [])

                    Expect.contains output "set -e http_proxy" "fish"

                    let! _, output, _ = run simple simpleSources [ "env" ]

                    Expect.isFalse (lines output |> _.Contains("https_proxy")) "no route takes CONNECT"

                    let curlIt = [ "curl"; "-q"; "-sS"; "http://plain.prod.test/by-exec" ]

                    // One that runs already, and one of its own.
                    for port in [ winch.Value.Port; Ports.free () ] do
                        let! code, output, errors =
                            Winch.Run(
                                scratch.Path,
                                [ "exec"; $"--server_http_port={port}" ] @ flags @ [ "--" ] @ curlIt,
                                []
                            )

                        Expect.equal code 0 (lines errors)
                        Expect.equal (lines output) "behind" "the service's answer"

                    let! code, _, _ =
                        Winch.Run(scratch.Path, "exec" :: flags @ [ "--"; "sh"; "-c"; "exit 7" ], [])

                    Expect.equal code 7 "the command's exit code"

                    let! code, _, errors =
                        Winch.Run(scratch.Path, "exec" :: flags @ [ "--"; "no-such-command" ], [])

                    Expect.equal code 127 "no such command"
                    Expect.stringContains (lines errors) "no-such-command" "says so"
                })

            case "status, of a winch that runs and of none" (fun () ->
                task {
                    use scratch = new Scratch()
                    let flag = $"--server_http_port={winch.Value.Port}"
                    let! code, output, _ = Winch.Run(scratch.Path, [ "status"; flag ], [])
                    Expect.equal code 0 (lines output)
                    Expect.stringContains (lines output) "10 routes" "routes"
                    let! _, output, _ = Winch.Run(scratch.Path, [ "status"; flag; "--output=json" ], [])
                    use json = JsonDocument.Parse(lines output)
                    Expect.equal (json.RootElement.GetProperty("routes").GetInt32()) 10 "JSON"

                    let! code, _, errors =
                        Winch.Run(scratch.Path, [ "status"; $"--server_http_port={Ports.free ()}" ], [])

                    Expect.equal code 1 "none runs"
                    Expect.stringContains (lines errors) "no winch answers" "says so"
                })

            case "token and kubectl-credential print the token of a source" (fun () ->
                task {
                    use scratch = new Scratch()
                    let auth = scratch.Write("auth.json", sources)

                    let ask (arguments: string) =
                        Shell.runIn
                            scratch.Path
                            (Winch.Home scratch.Path)
                            $"{Winch.Executable} {arguments} --server_auth_config_path={auth}"

                    let! outcome = ask "token proxy"
                    Expect.equal (outcome.Code, outcome.Output) (0, proxySecret + "\n") outcome.Errors
                    let! outcome = ask "token none"
                    Expect.equal outcome.Code 1 "no token"
                    Expect.stringContains outcome.Errors "auth source none: " "says why"
                    let! outcome = ask "token nobody"
                    Expect.equal outcome.Code 2 "no such source"
                    Expect.stringContains outcome.Errors "there are: proxy, service, none, wrong" "says which"
                    let! outcome = ask "kubectl-credential service"
                    use json = JsonDocument.Parse outcome.Output

                    Expect.equal
                        (json.RootElement.GetProperty("status").GetProperty("token").GetString())
                        backendSecret
                        "an ExecCredential"
                })

            case "changed files are applied; bad ones are reported and the previous ones stay active" (fun () ->
                task {
                    use! own = Winch.Start(idle ", \"unmapped\": \"refuse\"", sources, [])
                    let ask () = curl [ "-i"; "--proxy"; own.Proxy; "http://new.prod.test/" ]
                    let! _, before = ask ()
                    Expect.stringContains before "not-a-kedge-destination" "before"
                    let file = own.Scratch.File "mapper.json"
                    File.WriteAllText(file, usual ())

                    do!
                        soon patience "the new routes" ask (fun (_, answer) ->
                            answer.Contains("HTTP/1.1 200", StringComparison.Ordinal))

                    File.WriteAllText(file, """{ "routs": [] }""")

                    do!
                        soon
                            patience
                            "the report"
                            (fun () -> Winch.Direct.GetStringAsync(own.Url "/winch/status"))
                            _.Contains("routs")

                    let! _, after = ask ()
                    Expect.stringContains after "HTTP/1.1 200" "the previous ones"
                })
        ]
