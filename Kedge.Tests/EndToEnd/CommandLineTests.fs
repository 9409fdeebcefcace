module Kedge.Tests.EndToEnd.CommandLineTests

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness

let private run = KedgeProgram.RunToEnd

/// Three listeners on ports of their own.
type private Occupied() =
    let listeners =
        [
            for _ in 1..3 do
                let listener = new TcpListener(IPAddress.Any, 0)
                listener.Start()
                listener
        ]

    member _.Ports =
        listeners
        |> List.map (fun listener -> (listener.LocalEndpoint :?> IPEndPoint).Port)

    interface IDisposable with
        member _.Dispose() =
            for listener in listeners do
                listener.Stop()

/// Ports that are taken, so that an attempt to open one before the end of all checks would show as another error.
let private occupied = Shared.make (fun () -> new Occupied())

let private onTakenPorts () =
    List.map2
        (fun (flag: string) (port: int) -> $"--{flag}={port}")
        [ "server_grpc_tls_port"; "server_http_tls_port"; "server_http_port" ]
        occupied.Value.Ports

let private goodCertificate () =
    [
        $"--server_tls_cert_file={Certificates.server.Value.CertFile}"
        $"--server_tls_key_file={Certificates.server.Value.KeyFile}"
    ]

/// One line on standard error, with all of these in it; exit code 2.
let private isRefused (arguments: string list) (expected: string list) =
    task {
        let! code, _, errors = run (onTakenPorts () @ arguments)
        let text = String.Join('\n', errors)
        Expect.equal errors.Length 1 $"one line, but: {text}"

        for part in expected do
            Expect.stringContains text part "the line"

        Expect.isFalse (text.Contains "   at ") "no stack trace"
        Expect.equal code 2 "exit code"
    }

[<Tests>]
let information =
    testList
        "command line"
        [
            case "--version prints one line and nothing else" (fun () ->
                task {
                    let! code, out, errors = run [ "--version" ]
                    Expect.equal (code, errors) (0, [||]) "exit code and errors"
                    Expect.equal out.Length 1 "lines"
                    Expect.isMatch out[0] @"\d+\.\d+\.\d+" "a version"
                })

            case "--help names every flag of the server and every command" (fun () ->
                task {
                    let! code, out, errors = run [ "--help" ]
                    Expect.equal (code, errors) (0, [||]) "exit code and errors"
                    let text = String.Join('\n', out)

                    for name in
                        [
                            "--server_bind_address"
                            "--server_grpc_tls_port"
                            "--server_http_tls_port"
                            "--server_http_port"
                            "--server_tls_cert_file"
                            "--server_tls_client_ca_files"
                            "--server_sigterm_timeout"
                            "--kedge_config_director_config_path"
                            "--kedge_config_backendpool_config_path"
                            "--lbtransport_failed_target_backoff_duration"
                            "--log_level"
                            "demo"
                            "check"
                        ] do
                        Expect.stringContains text name "help"
                })

            for asked, given in [ [ "help" ], [ "--help" ]; [ "help"; "check" ], [ "check"; "--help" ] ] do
                case $"kedge %A{asked} is kedge %A{given}" (fun () ->
                    task {
                        let! code, out, errors = run asked
                        Expect.equal (code, errors) (0, [||]) "exit code and errors"
                        let! _, same, _ = run given
                        Expect.equal out same "the same text"
                    })
        ]

[<Tests>]
let mistakes =
    testList
        "command line mistakes: one clear line, exit code 2, no port opened"
        [
            case "a word that is no command" (fun () ->
                isRefused [ "nonsense" ] [ "nonsense"; "unexpected argument"; "see kedge --help" ])

            case "an unknown flag, with a suggestion" (fun () ->
                isRefused
                    (goodCertificate () @ [ "--server_htp_port=1" ])
                    [ "server_htp_port"; "did you mean"; "server_http_port" ])

            case "a port that is no number" (fun () ->
                isRefused
                    (goodCertificate () @ [ "--server_grpc_health_port=eighty" ])
                    [ "server_grpc_health_port"; "eighty" ])

            for number in [ "-1"; "many"; "1.5" ] do
                case $"a number of traces that is none: {number}" (fun () ->
                    isRefused
                        (goodCertificate () @ [ $"--traces_per_second={number}" ])
                        [ "traces_per_second"; number; "is not a number from 0" ])

            case "a log level that is none" (fun () ->
                isRefused (goodCertificate () @ [ "--log_level=loud" ]) [ "log_level"; "loud"; "warning" ])

            case "a duration that is none" (fun () ->
                isRefused
                    (goodCertificate () @ [ "--server_sigterm_timeout=soon" ])
                    [ "server_sigterm_timeout"; "soon" ])

            case "a certificate file that is not there" (fun () ->
                isRefused
                    [
                        "--server_tls_cert_file=/nowhere/server.crt"
                        $"--server_tls_key_file={Certificates.server.Value.KeyFile}"
                    ]
                    [ "server_tls_cert_file"; "/nowhere/server.crt" ])

            case "a key that is not the certificate's" (fun () ->
                isRefused
                    [
                        $"--server_tls_cert_file={Certificates.server.Value.CertFile}"
                        $"--server_tls_key_file={Certificates.client.Value.KeyFile}"
                    ]
                    [ "server_tls_key_file" ])

            case "a CA file without a certificate" (fun () ->
                isRefused
                    (goodCertificate ()
                     @ [ $"--server_tls_client_ca_files={Certificates.server.Value.KeyFile}" ])
                    [ "server_tls_client_ca_files" ])

            case "a configuration file that is not there" (fun () ->
                isRefused
                    (goodCertificate ()
                     @ [ "--kedge_config_director_config_path=/nowhere/director.json" ])
                    [ "kedge_config_director_config_path"; "/nowhere/director.json" ])

            case "the same configuration inline and from a file" (fun () ->
                task {
                    use scratch = new Scratch()

                    do!
                        isRefused
                            (goodCertificate ()
                             @ [
                                 "--kedge_config_director_config={}"
                                 "--kedge_config_director_config_path=" + scratch.Write("director.json", "{}")
                             ])
                            [ "kedge_config_director_config" ]
                })

            case "an OIDC flag without the provider" (fun () ->
                isRefused (goodCertificate () @ [ "--server_oidc_required_perm=admin" ]) [ "server_oidc_provider_url" ])
        ]

/// A server's command line, as a deployment has it.
let private serverFlags (scratch: Scratch) =
    goodCertificate ()
    @ [
        "--server_grpc_tls_port=444"
        "--server_http_port=80"
        "--server_http_tls_port=443"
        $"--server_tls_client_ca_files={Certificates.authority.Value.File}"
        "--server_tls_client_cert_required=true"
        "--server_oidc_provider_url=https://issuer.example"
        "--server_oidc_client_id=some-client-id"
        "--server_oidc_perms_claim=realm_access.roles"
        "--server_oidc_required_perm=perms-prod-example"
        "--lbtransport_failed_target_backoff_duration=1s"
        "--log_level=WARN"
        "--access_log"
        "--kedge_config_director_config_path="
        + scratch.Write("director.json", Json.director [ Json.httpRoute "alpha" "a.example" ] [])
        "--kedge_config_backendpool_config_path="
        + scratch.Write("pool.json", Json.pool [ Json.backend "alpha" 80 ] [])
    ]

[<Tests>]
let serversCommandLine =
    testList
        "the server's command line"
        [
            for command in
                [
                    [ "check"; "--strict"; "--require_authorization" ]
                    [ "explain"; "GET"; "https://a.example/" ]
                    [ "resolve"; "alpha"; "--once" ]
                ] do
                case $"is taken by kedge {command.Head}" (fun () ->
                    task {
                        use scratch = new Scratch()
                        let! code, out, errors = run (command @ serverFlags scratch)
                        Expect.equal (code, errors) (0, [||]) $"%A{out}"
                    })

            case "is taken by kedge diff, whose two files are its arguments" (fun () ->
                task {
                    use scratch = new Scratch()

                    let old =
                        scratch.Write("old.json", Json.director [ Json.httpRoute "alpha" "b.example" ] [])

                    let next =
                        scratch.Write("new.json", Json.director [ Json.httpRoute "alpha" "c.example" ] [])

                    let! code, out, errors =
                        run ([ "diff"; "--exit_code"; old; next ] @ serverFlags scratch)

                    Expect.equal (code, errors) (1, [||]) $"%A{out}"
                })

            case "is checked by the commands that take it" (fun () ->
                task {
                    use scratch = new Scratch()

                    for wrong in [ "--server_http_port=many"; "--server_http_port=443" ] do
                        let! code, _, errors =
                            run ([ "explain"; "GET"; "https://a.example/" ] @ serverFlags scratch @ [ wrong ])

                        Expect.equal (code, errors.Length) (2, 1) $"%A{errors}"
                        Expect.stringContains errors[0] "server_http_port" "the flag"
                })

            for name in [ "warn"; "WARN"; "Info"; "DEBUG"; "trace"; "fatal"; "panic"; "ERROR" ] do
                case $"has the original's log level {name}" (fun () ->
                    task {
                        let! code, _, errors =
                            run
                                [
                                    "explain"
                                    "GET"
                                    "https://a.example/"
                                    "--kedge_config_director_config={}"
                                    $"--log_level={name}"
                                ]

                        Expect.equal (code, errors) (0, [||]) name
                    })
        ]

/// Three mistakes of three kinds.
let private threeMistakes =
    """{
  "http": {
    "routes": [
      { "backend_name": "controller", "host_matcher": "a.example" },
      { "backend_name": "controller", "host_matchr": "b.example" },
      { "backend_name": "controller", "port_matcher": "many" },
      { "backend_name": "controller", "proxy_mode": "SIDEWAYS" }
    ]
  }
}
"""

[<Tests>]
let configuration =
    let isLocated (file: string) (lines: string[]) =
        let at (line: int) (path: string) (found: string) =
            let found =
                lines
                |> Array.filter (fun text ->
                    text.Contains $"{file}:{line}:" && text.Contains path && text.Contains found)

            Expect.equal found.Length 1 (sprintf "an error at line %d, %s, in %A" line path lines)

        Expect.equal lines.Length 3 $"%A{lines}"
        at 5 "$.http.routes[1]" "host_matchr"
        at 6 "$.http.routes[2].port_matcher" "many"
        at 7 "$.http.routes[3].proxy_mode" "SIDEWAYS"

    testList
        "configuration mistakes"
        [
            case "three mistakes in a file: three located errors, exit code 2, no port opened" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", threeMistakes)

                    let! code, _, errors =
                        run (
                            onTakenPorts ()
                            @ goodCertificate ()
                            @ [ $"--kedge_config_director_config_path={file}" ]
                        )

                    isLocated file errors
                    Expect.exists errors (fun e -> e.Contains "host_matcher") "a suggestion"
                    Expect.equal code 2 "exit code"
                })

            case "mistakes in both files are reported together" (fun () ->
                task {
                    use scratch = new Scratch()
                    let director = scratch.Write("director.json", """{ "htp": {} }""")

                    let pool =
                        scratch.Write("backendpool.json", """{ "http": { "backends": [ { "name": "x" } ] } }""")

                    let! code, _, errors =
                        run (
                            onTakenPorts ()
                            @ goodCertificate ()
                            @ [
                                $"--kedge_config_director_config_path={director}"
                                $"--kedge_config_backendpool_config_path={pool}"
                            ]
                        )

                    Expect.exists errors (fun e -> e.Contains $"{director}:1:") "the director's"
                    Expect.exists errors (fun e -> e.Contains $"{pool}:1:") "the pool's"
                    Expect.equal code 2 "exit code"
                })

            case "check: 0 when clean, 1 with the same errors" (fun () ->
                task {
                    use scratch = new Scratch()
                    let bad = scratch.Write("bad.json", threeMistakes)

                    let! code, out, errors =
                        run [ "check"; $"--kedge_config_director_config_path={bad}" ]

                    Expect.equal code 1 "with errors"

                    isLocated bad (Array.append out errors |> Array.filter (fun l -> l.Contains bad))

                    let director =
                        scratch.Write("director.json", Json.director [ Json.httpRoute "alpha" "a.example" ] [])

                    let pool = scratch.Write("pool.json", Json.pool [ Json.backend "alpha" 80 ] [])

                    let! code, out, errors =
                        run
                            [
                                "check"
                                "--strict"
                                $"--kedge_config_director_config_path={director}"
                                $"--kedge_config_backendpool_config_path={pool}"
                            ]

                    Expect.equal (code, errors) (0, [||]) $"clean: %A{out}"
                })

            case "check: a route to a backend that does not exist is a warning, 2 with --strict" (fun () ->
                task {
                    let arguments =
                        [
                            "check"
                            "--kedge_config_director_config="
                            + Json.director [ Json.httpRoute "ghost" "a.example" ] []
                        ]

                    let! lenient, _, _ = run arguments
                    let! strict, out, errors = run (arguments @ [ "--strict" ])
                    Expect.equal (lenient, strict) (0, 2) "exit codes"
                    Expect.exists (Array.append out errors) (fun line -> line.Contains "ghost") "names the backend"
                })
        ]

[<Tests>]
let ports =
    testList
        "ports"
        [
            case "a port in use: one line that names it, and no running server" (fun () ->
                task {
                    let arguments = onTakenPorts () @ goodCertificate ()
                    let! code, out, errors = run arguments
                    Expect.notEqual code 0 "exit code"
                    let all = Array.append out errors

                    let about =
                        all
                        |> Array.filter (fun line ->
                            line.Contains "in use"
                            && occupied.Value.Ports |> List.exists (fun port -> line.Contains(string port)))

                    Expect.isNonEmpty about $"names the port: %A{all}"
                    Expect.isFalse (all |> Array.exists (fun line -> line.Contains "   at ")) "no stack trace"
                })

            case "a listener with port 0 is off" (fun () ->
                task {
                    use scratch = new Scratch()
                    let debug = Ports.free ()

                    use program =
                        new KedgeProgram(
                            goodCertificate ()
                            @ [
                                "--server_grpc_tls_port=0"
                                "--server_http_tls_port=0"
                                $"--server_http_port={debug}"
                                "--server_bind_address=127.0.0.1"
                            ],
                            scratch.Path,
                            []
                        )

                    use client = new Http.HttpClient()

                    do!
                        eventually "an answer on the debug port" (fun () ->
                            try
                                (client.GetAsync $"http://127.0.0.1:{debug}/_healthz")
                                    .GetAwaiter()
                                    .GetResult()
                                    .IsSuccessStatusCode
                            with :? Http.HttpRequestException ->
                                Expect.isFalse program.HasExited program.Output
                                false)

                    // The listening sockets of the process are this one alone.
                    let inodes =
                        Directory.GetFiles $"/proc/{program.Id}/fd"
                        |> Array.choose (fun link ->
                            match FileInfo(link).LinkTarget with
                            | null -> None
                            | target when target.StartsWith "socket:[" -> Some(target.Substring(8).TrimEnd(']'))
                            | _ -> None)
                        |> set

                    let listening =
                        [ "/proc/net/tcp"; "/proc/net/tcp6" ]
                        |> List.filter File.Exists
                        |> List.collect (fun file ->
                            [
                                for line in Seq.skip 1 (File.ReadLines file) do
                                    let fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)

                                    if fields[3] = "0A" && inodes.Contains fields[9] then
                                        Convert.ToInt32(fields[1].Substring(fields[1].IndexOf ':' + 1), 16)
                            ])

                    Expect.equal listening [ debug ] "listening ports"
                })
        ]
