/// `kedge` beside a cluster of 10,000 exposed services. What it takes is printed, never asserted: machines differ.
module Kedge.Tests.Kubernetes.ScaleTests

open System
open System.Diagnostics
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness

[<Literal>]
let private Services = 10_000

[<Literal>]
let private Changes = 20

let private space i = $"n{i % 50}"

let private cluster =
    [
        for i in 1..Services do
            Manifest.exposed (space i) $"s{i}" [ "http", 80, "\"web\"" ]

            Manifest.slice
                (space i)
                $"s{i}-1"
                $"s{i}"
                "http"
                8080
                [ for j in 1..3 -> $"10.{j}.{i / 256}.{i % 256}", Manifest.ready ]
    ]

/// How long it takes until a request sees it.
let private timeUntil (look: unit -> Task<Outcome>) (isSo: Outcome -> bool) =
    task {
        let clock = Stopwatch.StartNew()
        let! first = look ()
        let mutable seen = first

        while not (isSo seen) do
            if clock.Elapsed > patience then
                failtestf "not so in all this time: %A" seen

            do! Task.Delay 2
            let! next = look ()
            seen <- next

        return clock.Elapsed.TotalMilliseconds
    }

let private spread (times: float list) =
    let sorted = List.sort times
    $"median %.0f{sorted[sorted.Length / 2]} ms, longest %.0f{List.last sorted} ms"

[<Tests>]
let tests =
    testList
        "discovery at scale"
        [
            case "10,000 services with 3 endpoints each: all in force, every change too, with two watches" (fun () ->
                task {
                    use peer = new HttpPeer "web"
                    use api = new ApiServer()
                    api.Play cluster
                    let clock = Stopwatch.StartNew()
                    use! kedge = Kedge.Start("{}", "{}", api.DiscoveryFlags)
                    let ready = clock.Elapsed.TotalSeconds
                    let! routes = DebugPort.metric kedge "kedge_discovery_services" []
                    Expect.equal routes (float Services) "services"
                    do! eventually "both watches stand" (fun () -> api.Double.Watches = 2)

                    use client = Clients.http1 kedge.HttpsPort None
                    let look () = fetch client "fresh.ext.example.com"

                    api.Play
                        [
                            Manifest.slice "shop" "fresh-1" "fresh" "http" peer.Port [ "127.0.0.1", Manifest.ready ]
                        ]

                    let added = ResizeArray()
                    let removed = ResizeArray()

                    for _ in 1..Changes do
                        api.Play [ Manifest.exposed "shop" "fresh" [ "http", 80, string peer.Port ] ]
                        let! time = timeUntil look (isFrom peer)
                        added.Add time
                        api.Play [ Delete("Service", "shop", "fresh") ]
                        let! time = timeUntil look (isError 502 "no-route")
                        removed.Add time

                    let resident = kedge.Program.ResidentBytes / (1024L * 1024L)
                    Expect.equal api.Double.Watches 2 "watches"

                    Expect.equal
                        (api.Double.Lists "Service", api.Double.Lists "EndpointSlice")
                        (1, 1)
                        "each listed once"

                    printfn
                        "%d services with 3 endpoints each: ready %.1f s after the start; a service added: %s; removed: %s; %d MiB resident"
                        Services
                        ready
                        (spread (List.ofSeq added))
                        (spread (List.ofSeq removed))
                        resident
                })
        ]
