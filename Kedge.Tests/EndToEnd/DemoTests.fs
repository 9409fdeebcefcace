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
        ]
