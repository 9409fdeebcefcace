module Kedge.Tests.EndToEnd.DemoTests

open System
open System.Diagnostics
open System.Runtime.InteropServices
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness

/// Runs a line as it would be pasted into a shell.
let private paste (line: string) =
    task {
        let info =
            ProcessStartInfo(
                "bash",
                [ "-c"; $"set -o pipefail; {line}" ],
                RedirectStandardOutput = true,
                RedirectStandardError = true
            )

        use shell = nonNull (Process.Start info)
        let output = shell.StandardOutput.ReadToEndAsync()
        let errors = shell.StandardError.ReadToEndAsync()
        let! output = within line output
        let! errors = within line errors
        do! shell.WaitForExitAsync()
        return shell.ExitCode, output, errors
    }

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

                    let pasted = commands ()
                    Expect.exists pasted (fun line -> line.Contains "--http1.1") "an HTTP/1.1 command"
                    Expect.exists pasted (fun line -> line.Contains "--http2") "an h2 command"
                    Expect.exists pasted (fun line -> line.Contains "application/grpc") "a gRPC command"

                    for line in pasted do
                        let! code, output, errors = paste line
                        Expect.equal code 0 $"{line}\n{output}\n{errors}"
                        Expect.isNotEmpty (output + errors) line

                        if line.Contains "application/grpc" then
                            // Its trailers are shown, too.
                            Expect.stringContains (output + errors) "grpc-status: 0" line

                    demo.Signal PosixSignal.SIGINT
                    let! code = demo.Exit()
                    Expect.equal code 0 demo.Output
                })
        ]
