/// Rate limits of all replicas: divided by the ready endpoints of kedge's own service.
module Kedge.Tests.Kubernetes.ReplicaLimitTests

open System
open System.Net.Http
open Expecto
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private file =
    """{ "rate_limits": [
           { "name": "shared", "limit": 1, "period": "1h", "burst": 6, "key": ["header:x-user"], "scale": "ALL_REPLICAS" },
           { "name": "near", "limit": 1, "period": "1h", "key": ["client_address", "header:x-user"] },
           { "name": "address", "limit": 1, "period": "1h", "key": ["client_address"], "shadow": true }
         ],
         "http": { "routes": [
           { "host_matcher": "shared.example", "respond": { "status": 200 }, "rate_limits": ["shared"] },
           { "host_matcher": "near.example", "respond": { "status": 200 }, "rate_limits": ["near", "address"] } ] } }"""

let private passed (kedge: Kedge) (user: string) =
    task {
        use client = Clients.http1 kedge.HttpsPort None
        let mutable passed = 0

        for _ in 1..8 do
            let! answer = get client "https://shared.example/" [ "x-user", user ]

            if answer.Status = 200 then
                passed <- passed + 1

        return passed
    }

let private replicas (kedge: Kedge) =
    task {
        let! page = DebugPort.json kedge "/debug/limits"
        return page.GetProperty("replicas").GetInt32()
    }

[<Tests>]
let tests =
    testList
        "rate limits of all replicas"
        [
            case "a limit is divided by the ready endpoints, and again when they change" (fun () ->
                task {
                    use api = new ApiServer()

                    let slice endpoints = Manifest.slice "edge" "kedge-1" "kedge" "https" 8443 endpoints

                    api.Play
                        [
                            slice
                                [
                                    "10.0.0.1", Manifest.ready
                                    "10.0.0.2", Manifest.ready
                                    "10.0.0.3", Manifest.ready
                                ]
                        ]

                    use! kedge = Kedge.Start(file, "{}", "--kedge_service=kedge.edge" :: api.Flags)
                    do! soon patience "three replicas" (fun () -> replicas kedge) ((=) 3)
                    let! third = passed kedge "alice"
                    Expect.equal third 2 "a third of six"

                    api.Play
                        [
                            slice
                                [
                                    "10.0.0.1", Manifest.ready
                                    "10.0.0.2", Manifest.unready
                                    "10.0.0.3", Manifest.unready
                                ]
                        ]

                    do! soon patience "one replica" (fun () -> replicas kedge) ((=) 1)
                    let! all = passed kedge "bob"
                    Expect.equal all 6 "all six"
                    api.Play [ Delete("EndpointSlice", "edge", "kedge-1") ]
                    let! still = passed kedge "carol"
                    Expect.equal still 6 "without endpoints, this replica counts alone"
                })

            case "without --kedge_service, each replica allows all of it, and the log says so" (fun () ->
                task {
                    use! kedge = Kedge.Start(file, "{}", [])
                    let! all = passed kedge "alice"
                    Expect.equal all 6 "all six"
                    Expect.stringContains kedge.Program.Output "the rate limit shared is one of all replicas" "log"
                })

            case "the page of limits shows the busiest callers: addresses, and hashes of all else" (fun () ->
                task {
                    use! kedge = Kedge.Start(file, "{}", [])
                    use client = Clients.http1 kedge.HttpsPort None

                    for i in 1..30 do
                        let! _ = get client "https://near.example/" [ "x-user", $"secret-user-{i}" ]
                        ()

                    let! page = DebugPort.json kedge "/debug/limits"

                    let limit name = items "limits" page |> List.find (fun limit -> text "name" limit = name)

                    Expect.equal ((limit "near").GetProperty("keys").GetInt32()) 30 "keys"
                    Expect.hasLength (items "busiest" (limit "near")) 20 "the busiest"
                    let address = items "busiest" (limit "address") |> List.exactlyOne
                    Expect.equal (text "key" address) "127.0.0.1" "an address"
                    Expect.isGreaterThan (address.GetProperty("seconds").GetDouble()) 3500.0 "seconds"
                    use! response = DebugPort.send kedge HttpMethod.Get "/debug/limits" "text/html"
                    let! html = response.Content.ReadAsStringAsync()
                    Expect.stringContains html "127.0.0.1" "the page"
                    Expect.isFalse (html.Contains("secret-user", StringComparison.Ordinal)) "no header of a caller"
                })

            case "a service that is not one is refused at start" (fun () ->
                task {
                    let! code, _, errors = run [ "--kedge_service=Not A Service" ]
                    Expect.equal code 2 "exit code"
                    Expect.exists errors (fun line -> line.Contains "--kedge_service: 'Not A Service' must be") "error"
                })
        ]
