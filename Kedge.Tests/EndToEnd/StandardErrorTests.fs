/// The log on standard error while nobody reads it.
module Kedge.Tests.EndToEnd.StandardErrorTests

open System.Net.Http
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// Requests, each with a line of 500 bytes and more: what the pipe takes and what may wait (4 MB) is less.
let private requests = 12_000

let private storm (client: HttpClient) =
    task {
        for batch in 1 .. requests / 100 do
            let answers =
                [ for i in 1..100 -> get client $"https://well.example/{batch}/{i}" [] ]

            let! answers = Task.WhenAll answers |> within "answers while nobody reads the log"

            for answer in answers do
                Expect.equal answer.Status 200 "served"
    }

let private parsed (kedge: Kedge) = [ for line in kedge.Program.Stderr -> JsonDocument.Parse(line).RootElement ]

let private from (logger: string) (entries: JsonElement list) =
    entries
    |> List.filter (fun entry -> entry.GetProperty("logger").GetString() = logger)

[<Tests>]
let tests =
    testList
        "standard error"
        [
            case "nobody reads it: no request waits, what finds no room is dropped, counted and told" (fun () ->
                task {
                    use peer = new HttpPeer "well"

                    use! kedge =
                        Kedge.Start
                            { Kedge.Defaults with
                                Director = Json.director [ Json.httpRoute "well" "well.example" ] []
                                BackendPool = Json.pool [ Json.backend "well" peer.Port ] []
                                Flags = [ "--access_log" ]
                                ReadsErrors = false
                            }

                    use client = Clients.http2 kedge.HttpsPort None
                    do! storm client
                    let! dropped = DebugPort.metric kedge "kedge_log_lines_dropped_total" []
                    Expect.isGreaterThan dropped 0.0 "counted"
                    kedge.Program.ReadErrors()

                    let told () =
                        from "kedge.log" (parsed kedge)
                        |> List.sumBy (fun entry -> entry.GetProperty("fields").GetProperty("Count").GetDouble())

                    do! eventually "all drops are told" (fun () -> told () = dropped)

                    do!
                        eventually "a line for each other request" (fun () ->
                            List.length (from "kedge.requests" (parsed kedge)) = requests - int dropped)

                    let! answer = get client "https://well.example/afterwards" [] |> within "an answer"
                    Expect.equal answer.Status 200 "served"

                    do!
                        eventually "its line" (fun () ->
                            kedge.Program.Stderr |> Array.exists _.Contains("/afterwards"))
                })
        ]
