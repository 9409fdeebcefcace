/// A fresh checkout: the command lines of the documents work before anybody has made a certificate.
module Kedge.Tests.EndToEnd.FirstRunTests

open System
open System.IO
open System.Net.Http
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private ports () =
    [ "server_grpc_tls_port"; "server_http_tls_port"; "server_http_port" ]
    |> List.map (fun flag -> flag, Ports.free ())

let private flagsOf ports = [ for flag: string, port: int in ports -> $"--{flag}={port}" ]

let private files (folder: Scratch) =
    [
        for file in Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories) do
            Path.GetRelativePath(folder.Path, file), File.ReadAllText file
    ]

let private everything =
    [ "ca"; "client"; "localhost" ]
    |> List.collect (fun name -> [ $"misc/{name}.crt"; $"misc/{name}.key" ])

/// The lines of the log that speak of certificates that were made.
let private said (program: KedgeProgram) =
    program.Stderr
    |> Array.filter (fun line -> line.Contains "made development certificates")

let private isUp (program: KedgeProgram) (debugPort: int) =
    eventually "an answer on the debug port" (fun () ->
        try
            use client = new HttpClient()
            client.GetAsync($"http://127.0.0.1:{debugPort}/_healthz").GetAwaiter().GetResult().IsSuccessStatusCode
        with :? HttpRequestException ->
            Expect.isFalse program.HasExited program.Output
            false)

[<Tests>]
let tests =
    testList
        "first run"
        [
            case
                "absent development certificates are made, said in one line, and used; a client's certificate fits"
                (fun () ->
                    task {
                        use scratch = new Scratch()
                        let ports = ports ()

                        let arguments =
                            flagsOf ports
                            @ [
                                "--server_bind_address=127.0.0.1"
                                "--server_tls_client_ca_files=misc/ca.crt"
                                "--server_tls_client_cert_required=true"
                            ]

                        use first = new KedgeProgram(arguments, scratch.Path, [])
                        do! isUp first (snd ports[2])
                        let made = files scratch
                        Expect.equal (List.sort (List.map fst made)) everything "the files"
                        Expect.equal (said first).Length 1 first.Output
                        let line = String.Join('\n', said first)
                        Expect.stringContains line "--server_tls_cert_file" "how to replace them"

                        let key = FileInfo(scratch.File "misc/localhost.key").UnixFileMode
                        Expect.equal key (UnixFileMode.UserRead ||| UnixFileMode.UserWrite) "nobody else reads the key"

                        // The client checks the server by the CA, and the server the client.
                        let! outcome =
                            Shell.runIn
                                scratch.Path
                                []
                                ("curl -s --cacert misc/ca.crt --cert misc/client.crt --key misc/client.key "
                                 + "-o /dev/null -w '%{http_code}' "
                                 + $"https://localhost:{snd ports[1]}/")

                        Expect.equal (outcome.Code, outcome.Output.Trim()) (0, "502") outcome.Errors
                        (first :> IDisposable).Dispose()

                        // They stay as they are the next time, and nothing is said.
                        use second = new KedgeProgram(arguments, scratch.Path, [])
                        do! isUp second (snd ports[2])
                        Expect.equal (files scratch) made "the same files"
                        Expect.isEmpty (said second) second.Output
                    })

            case "half of a pair is never completed or replaced" (fun () ->
                task {
                    use scratch = new Scratch()
                    Directory.CreateDirectory(scratch.File "misc") |> ignore
                    let own = File.ReadAllText Certificates.server.Value.KeyFile
                    File.WriteAllText(scratch.File "misc/localhost.key", own)
                    use program = new KedgeProgram(flagsOf (ports ()), scratch.Path, [])
                    let! code = program.Exit()
                    Expect.equal code 2 program.Output
                    Expect.stringContains program.Output "server_tls_cert_file" "what is missing"
                    Expect.equal (files scratch) [ "misc/localhost.key", own ] "untouched"
                })

            for name, arguments in
                [
                    "names outside misc/",
                    [
                        "--server_tls_cert_file=other/localhost.crt"
                        "--server_tls_key_file=other/localhost.key"
                    ]
                    "a path that leaves misc/",
                    [
                        "--server_tls_cert_file=misc/../localhost.crt"
                        "--server_tls_key_file=misc/../localhost.key"
                    ]
                    "other names in misc/",
                    [
                        "--server_tls_cert_file=misc/mine.crt"
                        "--server_tls_key_file=misc/mine.key"
                    ]
                    "a command line with a mistake", [ "--server_oidc_required_perm=admin" ]
                ] do
                case $"no file is made for {name}" (fun () ->
                    task {
                        use scratch = new Scratch()
                        use program = new KedgeProgram(flagsOf (ports ()) @ arguments, scratch.Path, [])
                        let! code = program.Exit()
                        Expect.equal code 2 program.Output
                        Expect.isEmpty (files scratch) "files"
                    })

            case "PEM files that begin with a byte order mark are read" (fun () ->
                task {
                    use scratch = new Scratch()

                    let marked (source: string) (name: string) =
                        scratch.Write(name, "\uFEFF" + File.ReadAllText source)

                    let identity = Certificates.server.Value
                    let cert = marked identity.CertFile "marked.crt"
                    let key = marked identity.KeyFile "marked.key"
                    let ca = marked Certificates.authority.Value.File "marked-ca.crt"

                    use! kedge =
                        serving
                            "alpha"
                            alpha.Value.Port
                            [
                                $"--server_tls_cert_file={cert}"
                                $"--server_tls_key_file={key}"
                                $"--server_tls_client_ca_files={ca}"
                            ]

                    use client = Clients.http1 kedge.HttpsPort (Some Certificates.client.Value)
                    let! answer = get client "https://alpha.example/" []
                    Expect.equal answer.Status 200 answer.Body
                })
        ]
