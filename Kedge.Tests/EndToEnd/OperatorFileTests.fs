/// Paths of an operator that name no ordinary file, or one that cannot be read.
module Kedge.Tests.EndToEnd.OperatorFileTests

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Host.Configurations
open Kedge.Host.Server
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Microsoft.Extensions.Logging.Abstractions

module private Posix =
    [<DllImport "libc">]
    extern int mkfifo(string path, int mode)

/// Makes the path a named pipe.
let fifo (path: string) =
    File.Delete path
    Expect.equal (Posix.mkfifo (path, 0o600)) 0 "mkfifo"

/// Makes the path an endless device.
let device (path: string) =
    File.Delete path
    File.CreateSymbolicLink(path, "/dev/zero") |> ignore

let private large (path: string) =
    File.Delete path
    use file = File.Create path
    // Without content on the disk.
    file.SetLength(17L * 1024L * 1024L)

/// What a path can name, and the reason that is given.
let private kinds =
    [
        "a named pipe", fifo, "is not a regular file"
        "an endless device", device, "is not a regular file"
        "a large file", large, "is larger than 16 MiB"
    ]

/// The end after SIGTERM, which must come soon.
let private ends (kedge: Kedge) =
    task {
        let watch = Stopwatch.StartNew()
        kedge.Program.Signal PosixSignal.SIGTERM
        let! code = kedge.Program.Exit()
        Expect.equal code 0 "exit code"
        Expect.isLessThan watch.Elapsed (TimeSpan.FromSeconds 15.0) "the time to the end"
    }

[<Tests>]
let tests =
    testList
        "files that are none"
        [
            for what, make, reason in kinds do
                case $"{what} ends the start with exit code 2, whatever flag names it" (fun () ->
                    task {
                        for flag in
                            [
                                "kedge_config_director_config_path"
                                "kedge_config_backendpool_config_path"
                                "server_tls_cert_file"
                                "server_tls_key_file"
                                "server_tls_client_ca_files"
                                "unsafe_bearer_token_proxy_auth_file"
                            ] do
                            use scratch = new Scratch()
                            let path = scratch.File "odd"
                            make path
                            let server = Certificates.server.Value

                            let others =
                                [
                                    "kedge_config_director_config_path", scratch.Write("director.json", "{}")
                                    "kedge_config_backendpool_config_path", scratch.Write("backendpool.json", "{}")
                                    "server_tls_cert_file", server.CertFile
                                    "server_tls_key_file", server.KeyFile
                                ]
                                |> List.filter (fun (name, _) -> name <> flag)
                                |> List.map (fun (name, value) -> $"--{name}={value}")

                            let! code, _, errors =
                                KedgeProgram.RunToEnd($"--{flag}={path}" :: "--server_http_port=0" :: others)

                            let text = String.Join('\n', errors)
                            Expect.equal code 2 $"{flag}: exit code"
                            Expect.stringContains text flag $"{flag}: the flag"
                            Expect.stringContains text reason $"{flag}: the reason"
                    })

                case
                    $"{what} in place of a configuration file is rejected; the old one serves; SIGTERM ends it"
                    (fun () ->
                        task {
                            use! kedge = serving "alpha" alpha.Value.Port [ "--server_sigterm_timeout=2s" ]
                            use client = Clients.http2 kedge.HttpsPort None
                            let before = kedge.Program.ResidentBytes
                            make kedge.DirectorFile
                            do! eventually "the rejection" (fun () -> kedge.Program.Output.Contains reason)
                            let! answer = get client "https://alpha.example/" []
                            Expect.equal answer.Status 200 "the old configuration"
                            let! refused = DebugPort.metric kedge "kedge_configuration_refused" []
                            Expect.equal refused 1.0 "refused"
                            let grown = kedge.Program.ResidentBytes - before
                            Expect.isLessThan grown 150_000_000L "bytes more than before"
                            File.Delete kedge.DirectorFile

                            File.WriteAllText(
                                kedge.DirectorFile,
                                Json.director [ Json.httpRoute "alpha" "new.example" ] []
                            )

                            do!
                                soon
                                    patience
                                    "a file again"
                                    (fun () ->
                                        task {
                                            let! answer = get client "https://new.example/" []
                                            return answer.Status
                                        })
                                    (fun status -> status = 200)

                            make kedge.DirectorFile
                            do! ends kedge
                        })

            case "files that cannot be read in time are reported, and do not delay the end" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("slow.json", "{}")
                    use hangs = new ManualResetEventSlim()
                    let rejected = TaskCompletionSource<string>()

                    let target =
                        { new IReloadable<string> with
                            member _.Load(errors: byref<IReadOnlyList<string>>) =
                                hangs.Wait()
                                errors <- [||]
                                "{}"

                            member _.Replace(_, _) = ()
                            member _.MarkUnchanged _ = ()
                            member _.Reject(errors, _) = rejected.TrySetResult(String.Join(';', errors)) |> ignore
                            member _.BeforeCheck() = ()
                        }

                    let reload =
                        new FileReload<string>("odd", WatchedFiles [ file ], target, NullLogger.Instance)

                    reload.Start()
                    File.WriteAllText(file, "{ }")
                    let! error = within "a report" rejected.Task
                    Expect.equal error "the files cannot be read within 10 s" "error"
                    do! finishes "the end" ((reload :> IAsyncDisposable).DisposeAsync().AsTask())
                    hangs.Set()
                })
        ]
