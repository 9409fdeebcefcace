module Kedge.Tests.EndToEnd.DemoTests

open System
open System.Runtime.InteropServices
open Expecto
open Kedge.Tests.Harness

/// Runs a line as it would be pasted into a shell.
let private paste (line: string) =
    // Which version of HTTP it was is told on standard error.
    Shell.run (
        "set -o pipefail; curl() { command curl -w '%{stderr}version=%{http_version}\n' \"$@\"; }\n"
        + line
    )

[<Tests>]
let tests =
    testList
        "demo"
        [
            case "its printed commands work when pasted: HTTP/1.1, h2 and gRPC" (fun () ->
                task {
                    use scratch = new Scratch()
                    use demo = new KedgeProgram([ "demo" ], scratch.Path, [])

                    let commands () =
                        demo.Stdout
                        |> Array.map _.Trim()
                        |> Array.filter (fun line -> line.Contains "curl ")

                    do!
                        eventually "the last line of the guide" (fun () ->
                            Expect.isFalse demo.HasExited demo.Output
                            demo.Stdout |> Array.exists (fun line -> line.Contains "Ctrl-C"))

                    let outcomes = ResizeArray<string * string * string>()

                    for line in commands () do
                        let! outcome = paste line
                        Expect.equal outcome.Code 0 $"{line}\n{outcome.Output}\n{outcome.Errors}"
                        Expect.isNotEmpty (outcome.Output.Trim()) line
                        outcomes.Add(line, outcome.Output, outcome.Errors)

                    let answered what version (isMeant: string -> bool) (reply: string) =
                        let those =
                            outcomes
                            |> Seq.filter (fun (line, output, errors) ->
                                isMeant line && errors.Contains $"version={version}\n" && output.Contains reply)

                        Expect.isNonEmpty those $"{what}: %A{List.ofSeq outcomes}"

                    answered
                        "HTTP/1.1"
                        "1.1"
                        (fun line -> line.Contains "--http1.1" && line.Contains "https://")
                        "ello"

                    answered "h2" "2" (fun line -> line.Contains "/hello") "demo_http"
                    answered "gRPC" "2" (fun line -> line.Contains "application/grpc") "Hello Kedge"

                    demo.Signal PosixSignal.SIGINT
                    let! code = demo.Exit()
                    Expect.equal code 0 demo.Output
                })

            case "default ports that are in use are replaced; ports that are given are used; 0 is off" (fun () ->
                task {
                    use scratch = new Scratch()
                    let debug = Ports.free ()

                    // Perhaps another program has it already.
                    use taken = new Net.Sockets.TcpListener(Net.IPAddress.Loopback, 8443)

                    try
                        taken.Start()
                    with :? Net.Sockets.SocketException ->
                        ()

                    use demo =
                        new KedgeProgram(
                            [ "demo"; $"--server_http_port={debug}"; "--server_grpc_tls_port=0" ],
                            scratch.Path,
                            []
                        )

                    do!
                        eventually "the last line of the guide" (fun () ->
                            Expect.isFalse demo.HasExited demo.Output
                            demo.Stdout |> Array.exists (fun line -> line.Contains "Ctrl-C"))

                    let lines = demo.Stdout |> Array.map _.Trim()
                    let hello = lines |> Array.find (fun line -> line.EndsWith "/hello")
                    Expect.isFalse (hello.Contains ":8443/") "another port"
                    let! outcome = paste hello
                    Expect.stringContains outcome.Output "demo_http" hello
                    let health = lines |> Array.find (fun line -> line.EndsWith "/_healthz")
                    Expect.stringContains health $":{debug}/" "the given port"
                    let! outcome = paste health
                    Expect.stringContains outcome.Output "kedge isok" health
                    Expect.isFalse (demo.Output.Contains "Greeter") "no gRPC port, no gRPC command"
                    demo.Signal PosixSignal.SIGINT
                    let! code = demo.Exit()
                    Expect.equal code 0 demo.Output
                })

            case "a given port that is in use: one line that names it" (fun () ->
                task {
                    use taken = new Net.Sockets.TcpListener(Net.IPAddress.Loopback, 0)
                    taken.Start()
                    let port = (taken.LocalEndpoint :?> Net.IPEndPoint).Port

                    let! code, out, errors =
                        KedgeProgram.RunToEnd [ "demo"; $"--server_http_tls_port={port}" ]

                    Expect.notEqual code 0 "exit code"

                    Expect.exists
                        (Array.append out errors)
                        (fun line -> line.Contains "in use" && line.Contains(string port))
                        $"%A{errors}"
                })

            case "an address that is given is the one in the commands" (fun () ->
                task {
                    use scratch = new Scratch()

                    use demo =
                        new KedgeProgram([ "demo"; "--server_bind_address=127.0.0.2" ], scratch.Path, [])

                    do!
                        eventually "the last line of the guide" (fun () ->
                            Expect.isFalse demo.HasExited demo.Output
                            demo.Stdout |> Array.exists (fun line -> line.Contains "Ctrl-C"))

                    let hello =
                        demo.Stdout
                        |> Array.map _.Trim()
                        |> Array.find (fun line -> line.EndsWith "/hello")

                    Expect.stringContains hello "https://127.0.0.2:" "the address"
                    let! outcome = paste hello
                    Expect.stringContains outcome.Output "demo_http" hello
                })
        ]
    // Two demos that start at the same moment could both find a default port free.
    |> testSequencedGroup "demo"
