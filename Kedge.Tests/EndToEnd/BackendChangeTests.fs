/// Backends that come and go at run time.
module Kedge.Tests.EndToEnd.BackendChangeTests

open System.IO
open System.Runtime.InteropServices
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Microsoft.AspNetCore.Http

[<Tests>]
let tests =
    testList
        "backends at run time"
        [
            case "a backend that is removed finishes its requests; one that is added is reached" (fun () ->
                task {
                    use old = new HttpPeer "old"
                    use added = new HttpPeer "added"
                    let release = TaskCompletionSource()

                    old.On(
                        "/hold",
                        fun context ->
                            task {
                                do! context.Response.WriteAsync "first "
                                do! context.Response.Body.FlushAsync()
                                do! release.Task
                                do! context.Response.WriteAsync "second"
                            }
                    )

                    let director name = Json.director [ Json.httpRoute name $"{name}.example" ] []

                    use! kedge =
                        Kedge.Start(director "old", Json.pool [ Json.backend "old" old.Port ] [], [])

                    use client = Clients.http2 kedge.HttpsPort None
                    let held = get client "https://old.example/hold" []
                    do! eventually "the request is there" (fun () -> (old.ReceivedOn "/hold").Length = 1)
                    File.WriteAllText(kedge.BackendPoolFile, Json.pool [ Json.backend "added" added.Port ] [])
                    File.WriteAllText(kedge.DirectorFile, director "added")
                    kedge.Program.Signal PosixSignal.SIGHUP

                    let status host = (get client $"https://{host}.example/" []).GetAwaiter().GetResult().Status

                    do! eventually "the added one answers" (fun () -> status "added" = 200)
                    Expect.equal (status "old") 502 "the removed one has no route"
                    release.SetResult()
                    let! answer = held
                    Expect.equal answer.Body "first second" "what was under way finished"
                })
        ]
