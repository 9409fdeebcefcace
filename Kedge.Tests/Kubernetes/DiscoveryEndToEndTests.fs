/// `kedge` as it runs in a cluster, beside an API server.
module Kedge.Tests.Kubernetes.DiscoveryEndToEndTests

open System
open System.IO
open System.Net.Http
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private serve (api: ApiServer) = Kedge.Start("{}", "{}", api.DiscoveryFlags)

/// Requests to that host, from a client of their own; what is not an answer of the peer is a failure.
let private loadOf (kedge: Kedge) (host: string) (peer: HttpPeer) =
    let client = Clients.http1 kedge.HttpsPort None

    new LightLoad(fun () ->
        task {
            try
                let! outcome = fetch client host
                return if isFrom peer outcome then "" else $"%A{outcome}"
            with :? HttpRequestException as error ->
                return error.Message
        })

let private isHarmless (load: LightLoad) =
    task {
        let! failures, good = load.Finish()
        Expect.isEmpty failures "failures of the other service"
        Expect.isGreaterThan good 5 "requests of the other service"
    }

[<Tests>]
let routes =
    testList
        "discovery in a server: routes"
        [
            case "not ready before the first list, and ready with its routes in force" (fun () ->
                task {
                    use peer = new HttpPeer "web"
                    use api = new ApiServer(false)
                    api.Play(pod "default" "web" "http" 80 peer.Port)

                    use! kedge =
                        Kedge.Start
                            { Kedge.Defaults with
                                Flags = api.DiscoveryFlags
                                UpWhen = "/_healthz"
                            }

                    use client = Clients.http1 kedge.HttpsPort None
                    let readiness () = task { return! (DebugPort.send kedge HttpMethod.Get "/_readyz" "") }

                    do!
                        soon
                            patience
                            "an attempt has failed"
                            (fun () -> restarts kedge [ "exposed services" ])
                            (fun n -> n >= 1.0)

                    use! before = readiness ()
                    Expect.equal (int before.StatusCode) 503 "without an API server"
                    let! none = fetch client "web.ext.example.com"
                    Expect.isTrue (isError 502 "no-route" none) $"%A{none}"
                    api.Double.Start()

                    do!
                        soon
                            recovery
                            "ready"
                            (fun () ->
                                task {
                                    use! now = readiness ()
                                    return int now.StatusCode
                                })
                            ((=) 200)

                    let! first = fetch client "web.ext.example.com"
                    Expect.isTrue (isFrom peer first) $"the first request when ready: %A{first}"
                })

            case "a service comes, is unready, loses its label; another one does not notice" (fun () ->
                task {
                    use steady = new HttpPeer "steady"
                    use web = new HttpPeer "web"
                    use rpc = new GrpcPeer "rpc"
                    use api = new ApiServer()
                    api.Play(pod "default" "steady" "http" 80 steady.Port)
                    use! kedge = serve api
                    use client = Clients.http1 kedge.HttpsPort None
                    use channel = Clients.grpc kedge.GrpcPort None "rpc.ext.example.com:9000"
                    let calls = Echo.EchoClient channel
                    let look () = fetch client "web.ext.example.com"
                    use load = loadOf kedge "steady.ext.example.com" steady

                    api.Play [ Manifest.unlabelled "default" "web" [ "http", 80, string web.Port ] ]
                    api.Play(pod "default" "later" "http" 80 web.Port)
                    do! soon change "what comes later" (fun () -> fetch client "later.ext.example.com") (isFrom web)
                    let! hidden = look ()
                    Expect.isTrue (isError 502 "no-route" hidden) $"without the label: %A{hidden}"

                    api.Play(pod "default" "web" "http" 80 web.Port)
                    do! soon change "the request is proxied" look (isFrom web)
                    api.Play(pod "default" "rpc" "grpc" 9000 rpc.Port)
                    do! soon change "the call is proxied" (fun () -> call calls) ((=) "rpc")

                    let unready name portName port =
                        Manifest.slice "default" $"{name}-1" name portName port [ "127.0.0.1", Manifest.unready ]

                    api.Play [ unready "web" "http" web.Port; unready "rpc" "grpc" rpc.Port ]
                    do! soon change "no endpoint" look (isError 503 "no-resolution-available")
                    do! soon change "no endpoint for calls" (fun () -> call calls) ((=) "Unavailable")
                    let requests, answered = web.Received.Length, rpc.Calls.Length

                    for _ in 1..5 do
                        let! _ = look ()
                        let! _ = call calls
                        ()

                    Expect.equal web.Received.Length requests "requests to an unready endpoint"
                    Expect.equal rpc.Calls.Length answered "calls to an unready endpoint"

                    api.Play
                        [
                            Manifest.unlabelled "default" "web" [ "http", 80, string web.Port ]
                            Manifest.unlabelled "default" "rpc" [ "grpc", 9000, string rpc.Port ]
                        ]

                    do! soon change "no route" look (isError 502 "no-route")
                    do! soon change "no route for calls" (fun () -> call calls) ((=) "Unimplemented")
                    do! isHarmless load
                })

            case "two services claim a host: the older serves, the loser is named, and takes over" (fun () ->
                task {
                    use older = new HttpPeer "older"
                    use younger = new HttpPeer "younger"
                    use api = new ApiServer()
                    let host = "shared.ext.example.com"
                    // The names' order says the opposite of the ages.
                    api.Play(claim host "2022-01-01T00:00:00Z" "a-younger" younger.Port)
                    use! kedge = serve api
                    use client = Clients.http1 kedge.HttpsPort None
                    let look () = fetch client host
                    do! soon change "the only one serves" look (isFrom younger)
                    api.Play(claim host "2021-01-01T00:00:00Z" "b-older" older.Port)
                    do! soon change "the older one serves" look (isFrom older)
                    let! listed = notices kedge

                    Expect.exists
                        listed
                        (fun notice -> notice.Contains "conflict" && notice.Contains "default/a-younger")
                        $"the loser on the status page: %A{listed}"

                    let conflict () =
                        DebugPort.metric
                            kedge
                            "kedge_discovery_conflict"
                            [ "host", host; "loser", "default/a-younger" ]

                    let! told = conflict ()
                    Expect.equal told 1.0 "the loser's metric"
                    api.Play [ Delete("Service", "default", "b-older") ]
                    do! soon change "the next takes over" look (isFrom younger)
                    do! soon change "the metric ends" conflict ((=) 0.0)
                    let! after = notices kedge
                    Expect.isEmpty after "notices when nobody loses"
                })

            case "a route of the files wins over a generated one, also when it comes later" (fun () ->
                task {
                    use generated = new HttpPeer "generated"
                    use own = new HttpPeer "own"
                    use api = new ApiServer()
                    api.Play(pod "default" "web" "http" 80 generated.Port)

                    use! kedge =
                        Kedge.Start("{}", Json.pool [ Json.backend "own" own.Port ] [], api.DiscoveryFlags)

                    use client = Clients.http1 kedge.HttpsPort None
                    let look () = fetch client "web.ext.example.com"
                    do! soon change "the generated route" look (isFrom generated)

                    File.WriteAllText(
                        kedge.DirectorFile,
                        Json.director [ Json.httpRoute "own" "web.ext.example.com" ] []
                    )

                    do! soon recovery "the file's route" look (isFrom own)
                    let! listed = notices kedge

                    Expect.exists
                        listed
                        (fun notice -> notice.Contains "default/web" && notice.Contains "director file")
                        $"the loser: %A{listed}"

                    do!
                        eventually "a line of the log" (fun () ->
                            kedge.Program.Output.Contains "service default/web loses to route 0 of the director file")

                    File.WriteAllText(kedge.DirectorFile, "{}")
                    do! soon recovery "the generated route again" look (isFrom generated)
                })

            case "a target port that no endpoint has is visible on the status page" (fun () ->
                task {
                    use api = new ApiServer()

                    api.Play
                        [
                            Manifest.exposed "default" "web" [ "http", 80, "\"absent\"" ]
                            Manifest.slice "default" "web-1" "web" "other" 9090 [ "127.0.0.1", Manifest.ready ]
                        ]

                    use! kedge = serve api
                    use client = Clients.http1 kedge.HttpsPort None

                    do!
                        soon
                            change
                            "no endpoint"
                            (fun () -> fetch client "web.ext.example.com")
                            (isError 503 "no-resolution-available")

                    let backend () =
                        task {
                            let! status = DebugPort.json kedge "/debug/status"
                            return status.GetProperty("backends").ToString()
                        }

                    do!
                        soon change "the page says so" backend (fun backends ->
                            backends.Contains "web_default_absent"
                            && backends.Contains "no endpoint of service default/web has the port"
                            && backends.Contains "absent")
                })

            case "a service with a bad annotation is quarantined, keeps its routes, and recovers" (fun () ->
                task {
                    use bad = new HttpPeer "bad"
                    use good = new HttpPeer "good"
                    use api = new ApiServer()
                    api.Play(claim "bad.ext.example.com" "2021-01-01T00:00:00Z" "bad" bad.Port)
                    use! kedge = serve api
                    use client = Clients.http1 kedge.HttpsPort None
                    let look host () = fetch client host
                    do! soon change "served" (look "bad.ext.example.com") (isFrom bad)
                    api.Play(claim "not a host!" "2021-01-01T00:00:00Z" "bad" bad.Port)
                    api.Play(pod "default" "good" "http" 80 good.Port)
                    do! soon change "others go on changing" (look "good.ext.example.com") (isFrom good)
                    let! kept = look "bad.ext.example.com" ()
                    Expect.isTrue (isFrom bad kept) $"its last good route: %A{kept}"
                    let! listed = notices kedge

                    Expect.exists
                        listed
                        (fun notice ->
                            notice.Contains "quarantined"
                            && notice.Contains "default/bad"
                            && notice.Contains "host-matcher")
                        $"the reason: %A{listed}"

                    let! count =
                        DebugPort.metric kedge "kedge_discovery_notices" [ "kind", "quarantined" ]

                    Expect.equal count 1.0 "the metric"
                    api.Play(claim "moved.ext.example.com" "2021-01-01T00:00:00Z" "bad" bad.Port)
                    do! soon change "mended" (look "moved.ext.example.com") (isFrom bad)
                    do! soon change "the old route goes" (look "bad.ext.example.com") (isError 502 "no-route")
                    do! soon change "nothing to notice" (fun () -> notices kedge) List.isEmpty
                })
        ]

/// Starts the outage, and waits until each watch has been begun again this many times.
let private restarted (kedge: Kedge) (times: float) (outage: unit -> unit) =
    task {
        let! before = restarts kedge bothWatches
        outage ()

        do!
            soon patience $"each watch has begun again {times} times" (fun () -> restarts kedge bothWatches) (fun now ->
                now >= before + times)
    }

let private kill (kedge: Kedge) (api: ApiServer) (missed: Happening list) =
    task {
        // The waits between attempts double from 0.1 s up to 2 s. By the ninth attempt they have reached that, so a longer
        // outage changes nothing; if they went on doubling, the next wait would take longer than `recovery`.
        do!
            restarted kedge 9.0 (fun () ->
                api.Double.Stop()
                api.Play missed)

        api.Double.Start()
    }

let private gone (form: GoneForm) (_: Kedge) (api: ApiServer) (missed: Happening list) =
    task {
        api.Double.Gone <- form
        api.Play [ DropWatches; yield! missed; Compact ]
    }

/// Waits until requests for each kind of object have been refused this many times.
let private refused (api: ApiServer) (times: int) =
    eventually $"{times} refusals of each watch" (fun () ->
        api.Double.Refusals "Service" >= times
        && api.Double.Refusals "EndpointSlice" >= times)

let private rotate (_: Kedge) (api: ApiServer) (missed: Happening list) =
    task {
        api.Double.Token <- "second"
        api.Play [ DropWatches; yield! missed ]
        do! refused api 2
        api.RotateToken "second"
    }

let private silence (kedge: Kedge) (api: ApiServer) (missed: Happening list) =
    // Silent for three times as long as is taken for death.
    restarted kedge 3.0 (fun () -> api.Play [ SilenceWatches; yield! missed ])

let private refuse (_: Kedge) (api: ApiServer) (missed: Happening list) =
    task {
        api.Double.RefuseWith <- 503
        api.Play [ DropWatches; yield! missed ]
        do! refused api 4
        api.Double.RefuseWith <- 0
    }

[<Tests>]
let outages =
    testList
        "discovery in a server: outages"
        [
            for name, outage in
                [
                    "is killed", kill
                    "answers 410", gone HttpStatus
                    "answers 410 within a 200", gone ErrorEvent
                    "rotates its token", rotate
                    "hangs silently", silence
                    "answers 503", refuse
                ] do
                case $"the API server {name}: traffic goes on, and soon all is right" (fun () ->
                    task {
                        use steady = new HttpPeer "steady"
                        use moved = new HttpPeer "moved"
                        use fresh = new HttpPeer "fresh"
                        use api = new ApiServer()

                        api.Play
                            [
                                yield! pod "default" "steady" "http" 80 steady.Port
                                yield! pod "default" "leaving" "http" 80 steady.Port
                                yield! pod "default" "web" "http" 80 steady.Port
                            ]

                        use! kedge =
                            Kedge.Start(
                                "{}",
                                "{}",
                                [
                                    yield! api.DiscoveryFlags
                                    if name = "hangs silently" then
                                        "--discovery_resync_timeout=1s"
                                        "--k8sresolver_resync_timeout=1s"
                                ]
                            )

                        use client = Clients.http1 kedge.HttpsPort None
                        let look service () = fetch client $"{service}.ext.example.com"
                        do! soon change "served" (look "web") (isFrom steady)
                        use load = loadOf kedge "steady.ext.example.com" steady

                        do!
                            outage
                                kedge
                                api
                                [
                                    Delete("Service", "default", "leaving")
                                    yield! pod "default" "fresh" "http" 80 fresh.Port
                                    // The same service on another port of its pods.
                                    yield! pod "default" "web" "http" 80 moved.Port
                                ]

                        let all () =
                            task {
                                let! gone = look "leaving" ()
                                let! came = look "fresh" ()
                                let! web = look "web" ()
                                return gone, came, web
                            }

                        do!
                            soon recovery "what was missed is in force" all (fun (gone, came, web) ->
                                isError 502 "no-route" gone && isFrom fresh came && isFrom moved web)

                        do! isHarmless load
                        do! eventually "one watch of each kind" (fun () -> api.Double.Watches = 2)
                    })

            case "no API server at the start: routes of the files serve, and the log has a line, not a flood" (fun () ->
                task {
                    use own = new HttpPeer "own"
                    use web = new HttpPeer "web"
                    use api = new ApiServer(false)

                    use! kedge =
                        Kedge.Start(
                            Json.director [ Json.httpRoute "own" "own.example"; Json.httpRoute "web" "web.example" ] [],
                            Json.pool
                                [
                                    Json.backend "own" own.Port
                                    """{ "name": "web", "k8s": { "dns_port_name": "web.default:http" } }"""
                                ]
                                [],
                            api.Flags
                        )

                    use client = Clients.http1 kedge.HttpsPort None
                    let! first = fetch client "own.example"
                    Expect.isTrue (isFrom own first) $"a file's route: %A{first}"

                    do!
                        soon patience "five attempts" (fun () -> restarts kedge [ "endpoint slices" ]) (fun count ->
                            count >= 5.0)

                    let warnings =
                        kedge.Program.Output.Split '\n'
                        |> Array.filter (fun line -> line.Contains "watch of endpoint slices")

                    Expect.hasLength warnings 1 "lines about the API server"
                    let! status = DebugPort.json kedge "/debug/status"

                    let row =
                        status.GetProperty("backends").EnumerateArray()
                        |> Seq.find (fun backend -> backend.GetProperty("name").GetString() = "web")

                    Expect.stringContains (row.ToString()) "cannot be reached" "the backend's row says why"
                    let! missing = fetch client "web.example"
                    Expect.isTrue (isError 503 "no-resolution-available" missing) $"%A{missing}"

                    api.Play
                        [
                            Manifest.unlabelled "default" "web" [ "http", 80, string web.Port ]
                            Manifest.slice "default" "web-1" "web" "http" web.Port [ "127.0.0.1", Manifest.ready ]
                        ]

                    api.Double.Start()
                    do! soon recovery "served" (fun () -> fetch client "web.example") (isFrom web)
                    Expect.equal (api.Double.Lists "Service") 0 "without discovery nobody asks for services"
                })

            case "discovery without any API server: one warning, never ready, and the files' routes serve" (fun () ->
                task {
                    use own = new HttpPeer "own"

                    use! kedge =
                        Kedge.Start
                            { Kedge.Defaults with
                                Director = Json.director [ Json.httpRoute "own" "own.example" ] []
                                BackendPool = Json.pool [ Json.backend "own" own.Port ] []
                                Flags =
                                    [
                                        "--kedge_dynamic_routings_enabled"
                                        "--discovery_external_domain_suffix=ext.example.com"
                                    ]
                                UpWhen = "/_healthz"
                            }

                    use client = Clients.http1 kedge.HttpsPort None
                    let! first = fetch client "own.example"
                    Expect.isTrue (isFrom own first) $"a file's route: %A{first}"

                    do!
                        Absence.during (TimeSpan.FromSeconds 1.5) "ready" (fun () ->
                            task {
                                use! readiness = DebugPort.send kedge HttpMethod.Get "/_readyz" ""
                                return int readiness.StatusCode <> 503
                            })

                    let warnings =
                        kedge.Program.Output.Split '\n'
                        |> Array.filter (fun line -> line.Contains "k8sclient_kubeapi_url is not given")

                    Expect.hasLength warnings 1 "lines about it"
                })
        ]
