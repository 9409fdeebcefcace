/// Clusters whose services and endpoints change as real ones did.
module Kedge.Tests.Kubernetes.HostileDiscoveryTests

open System.Net.Http
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Kubernetes

let private serve (api: ApiServer) = Kedge.Start("{}", "{}", api.DiscoveryFlags)

/// Requests to a host that any of these peers may answer.
let private loadOf (kedge: Kedge) (host: string) (peers: HttpPeer list) =
    let client = Clients.http1 kedge.HttpsPort None

    new LightLoad(fun () ->
        task {
            try
                let! outcome = fetch client host
                let isGood = peers |> List.exists (fun peer -> isFrom peer outcome)
                return if isGood then "" else $"%A{outcome}"
            with :? HttpRequestException as error ->
                return error.Message
        })

let private web = "web.ext.example.com"

let private service (target: string) = Manifest.exposed "default" "web" [ "http", 80, target ]

let private slice (port: int) =
    Manifest.slice "default" "web-1" "web" "http" port [ "127.0.0.1", Manifest.ready ]

/// Between two events of one change, as the cluster's controllers need it.
let private controllers () : Task = Task.Delay 300

/// Under load, no request fails while the cluster goes from one state to another and the second one comes into force.
let private noneFails
    (before: HttpPeer -> HttpPeer -> Happening list)
    (change: ApiServer -> HttpPeer -> HttpPeer -> Task<unit>)
    (last: HttpPeer -> HttpPeer -> HttpPeer)
    (backend: HttpPeer -> HttpPeer -> string)
    =
    task {
        use first = new HttpPeer "first"
        use second = new HttpPeer "second"
        use api = new ApiServer()
        api.Play(before first second)
        use! kedge = serve api
        use client = Clients.http1 kedge.HttpsPort None
        do! soon DiscoverySteps.change "served" (fun () -> fetch client web) (isFrom first)
        use load = loadOf kedge web [ first; second ]
        do! change api first second

        let routes () =
            task {
                let! status = DebugPort.json kedge "/debug/status"
                return status.GetProperty("routes").ToString()
            }

        do! soon recovery "the route" routes (fun routes -> routes.Contains(backend first second))
        do! soon recovery "the last state" (fun () -> fetch client web) (isFrom (last first second))
        do! controllers ()
        let! failures, good = load.Finish()
        Expect.isEmpty failures "failed requests"
        Expect.isGreaterThan good 5 "requests"
    }

[<Tests>]
let moves =
    testList
        "a hostile cluster: ports and routes move together"
        [
            case "a target port goes from a name to a number, and back" (fun () ->
                noneFails
                    (fun first _ -> [ service "\"web\""; slice first.Port ])
                    (fun api first _ ->
                        task {
                            api.Play [ service (string first.Port) ]
                            do! controllers ()
                            api.Play [ service "\"web\"" ]
                        })
                    (fun first _ -> first)
                    (fun _ _ -> "web_default_web"))

            case "a service goes to another port, and its slices follow" (fun () ->
                noneFails
                    (fun first _ -> [ service (string first.Port); slice first.Port ])
                    (fun api _ second ->
                        task {
                            api.Play [ service (string second.Port) ]
                            do! controllers ()
                            api.Play [ slice second.Port ]
                        })
                    (fun _ second -> second)
                    (fun _ second -> $"web_default_{second.Port}"))

            case "the slices are first, and the service follows" (fun () ->
                noneFails
                    (fun first _ -> [ service (string first.Port); slice first.Port ])
                    (fun api _ second ->
                        task {
                            api.Play [ slice second.Port ]
                            do! controllers ()
                            api.Play [ service (string second.Port) ]
                        })
                    (fun _ second -> second)
                    (fun _ second -> $"web_default_{second.Port}"))

            case "the winner of a conflict is deleted with its slices" (fun () ->
                noneFails
                    (fun first second ->
                        claim web "2021-01-01T00:00:00Z" "older" first.Port
                        @ claim web "2022-01-01T00:00:00Z" "younger" second.Port)
                    (fun api _ _ ->
                        task {
                            api.Play
                                [
                                    Delete("EndpointSlice", "default", "older-1")
                                    Delete("Service", "default", "older")
                                ]
                        })
                    (fun _ second -> second)
                    (fun _ second -> $"younger_default_{second.Port}"))

            case "an older service comes, and its slices follow" (fun () ->
                noneFails
                    (fun first _ -> claim web "2022-01-01T00:00:00Z" "younger" first.Port)
                    (fun api _ second ->
                        task {
                            let both = claim web "2021-01-01T00:00:00Z" "older" second.Port
                            api.Play(List.truncate 1 both)
                            do! controllers ()
                            api.Play(List.skip 1 both)
                        })
                    (fun _ second -> second)
                    (fun _ second -> $"older_default_{second.Port}"))

            case "a winner with a named target port loses its label, while another port has that name" (fun () ->
                noneFails
                    (fun first second ->
                        [
                            yield! claim web "2022-01-01T00:00:00Z" "younger" second.Port
                            Manifest.serviceWith
                                "\"kedge.com/kedge-exposed\":\"true\""
                                $"\"kedge.com/host-matcher\":\"{web}\""
                                "default"
                                "older"
                                [ "http", 80, "\"web\""; "web", 81, "\"admin\"" ]
                            Manifest.slice
                                "default"
                                "older-1"
                                "older"
                                "http"
                                first.Port
                                [ "127.0.0.1", Manifest.ready ]
                            // Nothing listens there.
                            Manifest.slice "default" "older-2" "older" "web" 1 [ "127.0.0.1", Manifest.ready ]
                        ])
                    (fun api _ _ ->
                        task {
                            api.Play
                                [
                                    Manifest.unlabelled
                                        "default"
                                        "older"
                                        [ "http", 80, "\"web\""; "web", 81, "\"admin\"" ]
                                ]
                        })
                    (fun _ second -> second)
                    (fun _ second -> $"younger_default_{second.Port}"))

            case "a target port that no pod has is used for a moment only" (fun () ->
                task {
                    use peer = new HttpPeer "web"
                    use api = new ApiServer()
                    api.Play [ service (string peer.Port); slice peer.Port ]
                    use! kedge = serve api
                    use client = Clients.http1 kedge.HttpsPort None
                    do! soon change "served" (fun () -> fetch client web) (isFrom peer)
                    api.Play [ service "\"absent\"" ]
                    // As the cluster's controller has it a moment later.
                    api.Play [ Manifest.sliceWithoutPorts "default" "web-1" "web" [ "127.0.0.1" ] ]

                    do!
                        soon
                            recovery
                            "no endpoint"
                            (fun () -> fetch client web)
                            (isError 503 "no-resolution-available")
                })
        ]

/// The last error of a backend on the status page.
let private lastError (kedge: Kedge) (backend: string) () =
    task {
        let! status = DebugPort.json kedge "/debug/status"

        return
            status.GetProperty("backends").EnumerateArray()
            |> Seq.map string
            |> Seq.tryFind (fun row -> row.Contains $"\"{backend}\"")
            |> Option.defaultValue ""
    }

let private readiness (kedge: Kedge) () =
    task {
        use! answer = DebugPort.send kedge HttpMethod.Get "/_readyz" ""
        let! text = answer.Content.ReadAsStringAsync()
        return int answer.StatusCode, text
    }

[<Tests>]
let reports =
    testList
        "a hostile cluster: endpoints"
        [
            case "pods that lack the target port are reported, though their slices have no port at all" (fun () ->
                task {
                    use api = new ApiServer()

                    api.Play
                        [
                            service "\"absent\""
                            Manifest.sliceWithoutPorts "default" "web-1" "web" [ "127.0.0.1" ]
                        ]

                    use! kedge = serve api

                    do!
                        soon change "the reason" (lastError kedge "web_default_absent") (fun row ->
                            row.Contains "no endpoint of service default/web has the port"
                            && row.Contains "absent")
                })

            case "a service that does not exist, and one whose slices have host names, are reported" (fun () ->
                task {
                    use api = new ApiServer()

                    api.Play [ Manifest.sliceOfHosts "default" "db-1" "db" "http" 80 "db.example" ]

                    let backend name =
                        $$"""{ "name": "{{name}}", "k8s": { "dns_port_name": "{{name}}.default:http" } }"""

                    use! kedge =
                        Kedge.Start(
                            Json.director [ Json.httpRoute "db" "db.example"; Json.httpRoute "nothing" "n.example" ] [],
                            Json.pool [ backend "db"; backend "nothing" ] [],
                            api.Flags
                        )

                    do!
                        soon change "host names" (lastError kedge "db") (fun row ->
                            row.Contains "the endpoints of service default/db are host names")

                    do!
                        soon change "no service" (lastError kedge "nothing") (fun row ->
                            row.Contains "service default/nothing has no endpoint slices")
                })

            case "a service of the type ExternalName gets a notice and no route, and harms none" (fun () ->
                task {
                    use peer = new HttpPeer "web"
                    use api = new ApiServer()
                    let older = claim web "2021-01-01T00:00:00Z" "alias" 80 |> List.head

                    let alias =
                        match older with
                        | Put json ->
                            Put(
                                json.Replace(
                                    "\"spec\":{",
                                    "\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"db.example\","
                                )
                            )
                        | other -> other

                    api.Play(alias :: claim web "2022-01-01T00:00:00Z" "younger" peer.Port)
                    use! kedge = serve api
                    use client = Clients.http1 kedge.HttpsPort None
                    do! soon change "the other one serves" (fun () -> fetch client web) (isFrom peer)
                    let! listed = notices kedge

                    Expect.exists
                        listed
                        (fun notice -> notice.Contains "default/alias" && notice.Contains "ExternalName")
                        $"%A{listed}"
                })

            case "while all pods terminate and serve, they get the requests" (fun () ->
                task {
                    use leaving = new HttpPeer "leaving"
                    use fresh = new HttpPeer "fresh"
                    use api = new ApiServer()
                    api.Play [ service "\"web\""; slice leaving.Port ]
                    use! kedge = serve api
                    use client = Clients.http1 kedge.HttpsPort None
                    let look () = fetch client web

                    let state name () =
                        DebugPort.metric
                            kedge
                            "kedge_backend_endpoints"
                            [ "backend_name", "web_default_web"; "state", name ]

                    do! soon change "served" look (isFrom leaving)
                    use load = loadOf kedge web [ leaving; fresh ]

                    let ending conditions =
                        Manifest.slice "default" "web-1" "web" "http" leaving.Port [ "127.0.0.1", conditions ]

                    api.Play [ ending Manifest.terminating ]
                    do! soon change "the metric" (state "terminating") ((=) 1.0)
                    let! ready = state "ready" ()
                    Expect.equal ready 0.0 "none is ready"

                    api.Play
                        [
                            Manifest.slice "default" "web-2" "web" "http" fresh.Port [ "127.0.0.1", Manifest.ready ]
                        ]

                    do! soon change "a ready one takes over" (state "terminating") ((=) 0.0)
                    do! soon change "and serves" look (isFrom fresh)
                    let count = leaving.Received.Length

                    for _ in 1..5 do
                        let! _ = look ()
                        ()

                    Expect.equal leaving.Received.Length count "requests to the terminating one"
                    api.Play [ Delete("EndpointSlice", "default", "web-2") ]
                    do! soon change "the last resort again" look (isFrom leaving)
                    let! failures, _ = load.Finish()
                    Expect.isEmpty failures "failed requests"
                    api.Play [ ending "\"ready\":false,\"serving\":false,\"terminating\":true" ]
                    do! soon change "it serves no more" look (isError 503 "no-resolution-available")
                })

            case "ready only when the endpoints are in, and the reason until then" (fun () ->
                task {
                    use peer = new HttpPeer "web"
                    use api = new ApiServer()
                    api.Double.HasSlices <- false
                    api.Play [ service "\"web\""; slice peer.Port ]

                    use! kedge =
                        Kedge.Start
                            { Kedge.Defaults with
                                Flags = api.DiscoveryFlags
                                UpWhen = "/_healthz"
                            }

                    do!
                        soon patience "the services are in" (fun () -> restarts kedge [ "endpoint slices" ]) (fun n ->
                            n >= 2.0)

                    let! status, text = readiness kedge ()
                    Expect.equal status 503 "not ready"
                    Expect.stringContains text "waiting for the first list of endpoint slices" "what it waits for"
                    Expect.stringContains text "discovery.k8s.io/v1" "and why"
                    api.Double.HasSlices <- true
                    do! soon recovery "ready" (readiness kedge) (fun (status, _) -> status = 200)
                    use client = Clients.http1 kedge.HttpsPort None
                    let! first = fetch client web
                    Expect.isTrue (isFrom peer first) $"the first request when ready: %A{first}"
                })
        ]
