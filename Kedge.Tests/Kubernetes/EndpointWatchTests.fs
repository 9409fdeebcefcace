/// Endpoints of `k8s` backends, from the watch of endpoint slices against an API server.
module Kedge.Tests.Kubernetes.EndpointWatchTests

open System
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Kubernetes

let private web = Manifest.slice "shop" "api-1" "api" "http-web" 8080

let private hears (what: string) (expected: string list) (sink: RecordingSink) =
    eventually what (fun () -> sink.Last = Some expected)

/// The states through which a service's endpoints go, each with what the server does then.
let private life (disturb: ClusterStage -> unit) (check: ClusterStage -> RecordingSink -> unit) =
    task {
        use stage = new ClusterStage()
        stage.Server.Play [ web [ "10.0.0.1", Manifest.ready; "10.0.0.2", Manifest.ready ] ]
        let sink = stage.Resolve("api.shop:http-web", false)
        do! hears "the first list" [ "10.0.0.1:8080"; "10.0.0.2:8080" ] sink
        do! eventually "the watch stands" (fun () -> stage.Server.Watches = 1)
        disturb stage
        stage.Server.Play [ web [ "10.0.0.1", Manifest.unready; "10.0.0.2", Manifest.ready ] ]
        do! hears "the change" [ "10.0.0.2:8080" ] sink

        // Whatever came between, there was no other state.
        Expect.equal
            sink.Answers
            [ [ "10.0.0.1:8080"; "10.0.0.2:8080" ]; [ "10.0.0.2:8080" ] ]
            "each state once, and none besides"

        check stage sink
    }

let private ignoreBoth _ _ = ()

[<Tests>]
let tests =
    testList
        "Kubernetes endpoints"
        [
            case "ready endpoints come and go" (fun () ->
                task {
                    use stage = new ClusterStage()
                    let sink = stage.Resolve("api.shop:http-web", false)
                    do! hears "an empty list" [] sink
                    stage.Server.Play [ web [ "10.0.0.1", ""; "10.0.0.2", Manifest.unready ] ]
                    do! hears "a null ready" [ "10.0.0.1:8080" ] sink

                    stage.Server.Play
                        [
                            web
                                [
                                    "10.0.0.1", "\"ready\":true,\"terminating\":true"
                                    "10.0.0.2", Manifest.ready
                                ]
                        ]

                    do! hears "a terminating one" [ "10.0.0.2:8080" ] sink

                    stage.Server.Play
                        [
                            Manifest.slice "shop" "api-2" "api" "http-web" 9090 [ "10.0.0.3", Manifest.ready ]
                        ]

                    do! hears "a second slice" [ "10.0.0.2:8080"; "10.0.0.3:9090" ] sink
                    stage.Server.Play [ Delete("EndpointSlice", "shop", "api-1") ]
                    do! hears "a slice that is gone" [ "10.0.0.3:9090" ] sink

                    stage.Server.Play
                        [
                            Manifest.slice "shop" "api-2" "other" "http-web" 9090 [ "10.0.0.3", Manifest.ready ]
                        ]

                    do! hears "a slice that changes its service" [] sink
                })

            case "a dropped watch goes on where it was, without a list" (fun () ->
                life (fun stage -> stage.Server.Play [ DropWatches ]) (fun stage _ ->
                    Expect.equal (stage.Server.Lists "EndpointSlice") 1 "one list"))

            case "so does one that the server ends" (fun () ->
                life (fun stage -> stage.Server.Play [ Bookmark; EndWatches ]) (fun stage _ ->
                    Expect.equal (stage.Server.Lists "EndpointSlice") 1 "one list"))

            case "after 410 as an event everything is listed again" (fun () ->
                life (fun stage -> stage.Server.Play [ Compact; DropWatches ]) (fun stage _ ->
                    Expect.equal (stage.Server.Lists "EndpointSlice") 2 "two lists"))

            case "after 410 as a status everything is listed again" (fun () ->
                life
                    (fun stage ->
                        stage.Server.Gone <- HttpStatus
                        stage.Server.Play [ Compact; DropWatches ])
                    (fun stage _ -> Expect.equal (stage.Server.Lists "EndpointSlice") 2 "two lists"))

            case "a bookmark spares the list after a version is forgotten" (fun () ->
                task {
                    use stage = new ClusterStage()
                    let sink = stage.Resolve("api.shop:http-web", false)
                    do! hears "an empty list" [] sink
                    do! eventually "the watch stands" (fun () -> stage.Server.Watches = 1)
                    stage.Server.Play [ Compact; Bookmark ]
                    do! eventually "the bookmark" (fun () -> (stage.Watch "endpoint slices").Events = 1L)
                    stage.Server.Play [ DropWatches; web [ "10.0.0.1", Manifest.ready ] ]
                    do! hears "the change" [ "10.0.0.1:8080" ] sink
                    Expect.equal (stage.Server.Lists "EndpointSlice") 1 "one list"
                })

            case "a silent watch is restarted" (fun () ->
                task {
                    use stage = new ClusterStage(TimeSpan.FromSeconds 1.0, id, true)
                    let sink = stage.Resolve("api.shop:http-web", false)
                    do! hears "an empty list" [] sink
                    do! eventually "the watch stands" (fun () -> stage.Server.Watches = 1)
                    stage.Server.Play [ SilenceWatches; web [ "10.0.0.1", Manifest.ready ] ]
                    do! hears "the change" [ "10.0.0.1:8080" ] sink
                    Expect.isGreaterThanOrEqual (stage.Watch "endpoint slices").Restarts 1L "a restart"
                })

            case "while the API server is away the endpoints stay, and soon after they are right" (fun () ->
                task {
                    use stage = new ClusterStage()
                    stage.Server.Play [ web [ "10.0.0.1", Manifest.ready ] ]
                    let sink = stage.Resolve("api.shop:http-web", false)
                    do! hears "the first list" [ "10.0.0.1:8080" ] sink
                    stage.Server.Stop()
                    let health = stage.Watch "endpoint slices"
                    do! eventually "five failed attempts" (fun () -> health.Restarts >= 5L)
                    Expect.isNotNull health.Error "the watch is in trouble"
                    Expect.equal sink.Answers [ [ "10.0.0.1:8080" ] ] "nothing has changed"
                    stage.Server.Play [ Delete("EndpointSlice", "shop", "api-1"); web [ "10.0.0.9", Manifest.ready ] ]
                    stage.Server.Start()
                    let back = Diagnostics.Stopwatch.StartNew()
                    do! hears "the change" [ "10.0.0.9:8080" ] sink
                    Expect.isLessThan back.Elapsed (TimeSpan.FromSeconds 12.0) "soon"
                    do! eventually "the watch stands" (fun () -> isNull health.Error)
                })

            case "an API server that is away at the start is waited for" (fun () ->
                task {
                    use stage = new ClusterStage(TimeSpan.FromMinutes 5.0, id, false)
                    let sink = stage.Resolve("api.shop:http-web", false)
                    let health = stage.Watch "endpoint slices"
                    do! eventually "the watch is in trouble" (fun () -> not (isNull health.Error))
                    Expect.isEmpty sink.Answers "nothing is said before the first list"
                    Expect.isFalse health.IsSynced "nor is it claimed"
                    stage.Server.Play [ web [ "10.0.0.1", Manifest.ready ] ]
                    stage.Server.Start()
                    do! hears "the first list" [ "10.0.0.1:8080" ] sink
                })

            case "errors of the API server are waited out" (fun () ->
                task {
                    use stage = new ClusterStage()
                    stage.Server.RefuseWith <- 503
                    let sink = stage.Resolve("api.shop:http-web", false)
                    let health = stage.Watch "endpoint slices"
                    do! eventually "the watch is in trouble" (fun () -> not (isNull health.Error))
                    Expect.stringContains (string health.Error) "503" "and says why"
                    stage.Server.RefuseWith <- 0
                    do! hears "the first list" [] sink
                })

            case "many backends need one watch" (fun () ->
                task {
                    use stage = new ClusterStage()
                    stage.Server.LargestPage <- 7

                    stage.Server.Play
                        [
                            for i in 1..100 do
                                Manifest.slice "shop" $"s{i}-1" $"s{i}" "http" 8080 [ $"10.0.1.{i}", Manifest.ready ]
                        ]

                    let sinks = [ for i in 1..100 -> stage.Resolve($"s{i}.shop:http", false) ]

                    for i, sink in List.indexed sinks do
                        do! hears $"backend {i + 1}" [ $"10.0.1.{i + 1}:8080" ] sink

                    do! eventually "the watch stands" (fun () -> stage.Server.Watches = 1)
                    Expect.equal (stage.Server.Lists "EndpointSlice") 1 "one list"
                    Expect.equal (stage.Server.Lists "Service") 0 "and no other"
                })

            case "the name of a target port is looked up with one watch of services, however many need it" (fun () ->
                task {
                    use stage = new ClusterStage()

                    stage.Server.Play
                        [
                            for i in 1..20 do
                                Manifest.unlabelled "shop" $"s{i}" [ "http", 80, "\"pods-port\"" ]
                                Manifest.slice "shop" $"s{i}-1" $"s{i}" "http" 8080 [ $"10.0.1.{i}", Manifest.ready ]
                        ]

                    let sinks = [ for i in 1..20 -> stage.Resolve($"s{i}.shop:pods-port", false) ]

                    for i, sink in List.indexed sinks do
                        do! hears $"backend {i + 1}" [ $"10.0.1.{i + 1}:8080" ] sink

                    do! eventually "both watches stand" (fun () -> stage.Server.Watches = 2)
                    Expect.equal (stage.Server.Lists "Service") 1 "one list of services"
                    stage.Server.Play [ Manifest.unlabelled "shop" "s1" [ "http", 80, "\"other\"" ] ]
                    do! hears "the target port is named otherwise" [] sinks.Head
                })

            case "a service port's number is looked up too, and nothing is said before it is" (fun () ->
                task {
                    use stage = new ClusterStage()

                    stage.Server.Play
                        [
                            Manifest.unlabelled "shop" "api" [ "http-web", 80, "8080" ]
                            web [ "10.0.0.1", Manifest.ready ]
                        ]

                    let sink = stage.Resolve("api.shop:80", false)
                    do! hears "the endpoint" [ "10.0.0.1:8080" ] sink
                    Expect.equal sink.Answers [ [ "10.0.0.1:8080" ] ] "the first answer is the right one"
                    Expect.isEmpty sink.Errors "no error"
                })

            case "an API server without discovery.k8s.io/v1 is told by name" (fun () ->
                task {
                    use stage = new ClusterStage()
                    stage.Server.HasSlices <- false
                    stage.Resolve("api.shop:http-web", false) |> ignore
                    let health = stage.Watch "endpoint slices"
                    do! eventually "the watch is in trouble" (fun () -> not (isNull health.Error))
                    Expect.stringContains (string health.Error) "404" "the answer"
                    Expect.stringContains (string health.Error) "discovery.k8s.io/v1" "what is missing"
                    Expect.stringContains (string health.Error) "1.21" "and what has it"
                })

            case "a port that no endpoint has is said" (fun () ->
                task {
                    use stage = new ClusterStage()
                    stage.Server.Play [ web [ "10.0.0.1", Manifest.ready ] ]
                    let sink = stage.Resolve("api.shop:81", false)
                    do! hears "no endpoint" [] sink
                    do! eventually "the error" (fun () -> not sink.Errors.IsEmpty)
                    Expect.stringContains sink.Errors.Head "http-web:8080" "with the ports that are there"
                })
        ]
