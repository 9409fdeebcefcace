/// How each balancer spreads requests over the endpoints of a backend.
module Kedge.Tests.EndToEnd.BalancerTests

open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.BackendStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

[<Tests>]
let tests =
    testList
        "balancers"
        [
            case "RANDOM, POWER_OF_TWO_CHOICES and LEAST_REQUEST use every endpoint" (fun () ->
                task {
                    let addresses = [ "127.0.0.2"; "127.0.0.3"; "127.0.0.4" ]
                    let port, peers = onAddresses addresses
                    use _ = disposing peers
                    use! dns = dnsOf 60 addresses

                    for balancer in [ "RANDOM"; "POWER_OF_TWO_CHOICES"; "LEAST_REQUEST" ] do
                        use! kedge = startHttp dns port $", \"balancer\": \"{balancer}\"" []
                        use client = Clients.http2 kedge.HttpsPort None
                        // That RANDOM leaves one of three out in 60 has a chance of one in ten thousand million.
                        let! answers = bodies client 60
                        Expect.equal (List.sort (List.distinct answers)) addresses balancer
                })

            case "LEAST_REQUEST keeps away from endpoints that are busy" (fun () ->
                task {
                    let addresses = [ "127.0.0.2"; "127.0.0.3"; "127.0.0.4" ]
                    let port, peers = onAddresses addresses
                    use _ = disposing peers
                    let release = TaskCompletionSource()

                    for peer in peers do
                        peer.On("/hold", (fun _ -> release.Task))

                    use! dns = dnsOf 60 addresses
                    use! kedge = startHttp dns port ", \"balancer\": \"LEAST_REQUEST\"" []
                    use client = Clients.http2 kedge.HttpsPort None
                    // Two are held by two of the three.
                    let first = get client "https://many.example/hold" []
                    let holding () = peers |> List.filter (fun peer -> (peer.ReceivedOn "/hold").Length > 0)
                    do! eventually "the first is held" (fun () -> (holding ()).Length = 1)
                    let second = get client "https://many.example/hold" []
                    do! eventually "the second is held elsewhere" (fun () -> (holding ()).Length = 2)
                    let idle = peers |> List.except (holding ()) |> List.exactlyOne
                    let! answers = bodies client 10
                    Expect.equal (List.distinct answers) [ idle.Name ] "the idle one"
                    release.SetResult()
                    let! _ = first
                    let! _ = second
                    ()
                })
        ]
