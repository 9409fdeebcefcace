/// Generated routes along with those of the files.
module Kedge.PropertyTests.DiscoveryFileLaws

open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Discovery
open Kedge.PropertyTests.DiscoveryCases

let private stateWith director services = DiscoveryState.Create(options, files director pool).Replace services

/// Calls that distinguish matchers.
let private calls = [ "p.S", "Get"; "p.S", "Put"; "p.T", "Get"; "q.S", "Get" ]

let private holds (text: string) (service: string, method: string) =
    match ServiceMatcher.tryParse text with
    | Ok matcher ->
        matcher.Holds(System.MemoryExtensions.AsSpan service, System.MemoryExtensions.AsSpan(service + "/" + method))
    | Error rule -> failwith rule

let private hostHolds (text: string) (host: string) =
    match HostMatcher.tryParse text with
    | Ok matcher -> matcher.Holds(System.MemoryExtensions.AsSpan host)
    | Error rule -> failwith rule

/// Nothing but host, port and method is asked for.
let private isWhole (paths: string list) = paths.IsEmpty || paths = [ "/*" ]

let private portHolds (matcher: uint32) (port: uint16) = matcher = 0u || matcher = uint32 port

[<Tests>]
let tests =
    testList
        "discovery: the files"
        [
            Law.test
                "what the files' routes claim whole is not generated, and is reported with the route"
                500
                [
                    "a file's route wins", 75
                    "a file's route has a further condition", 40
                    "one for any host precedes one for the host", 5
                    "a forward-proxy route precedes the one that wins", 5
                    "routes are made", 250
                ]
                (Arb.fromGen (Gen.zip director services))
                (fun seen (director, services) ->
                    let generated = (stateWith director services).Generate()

                    seen.When(
                        "routes are made",
                        generated.Entries.HttpRoutes.Length + generated.Entries.GrpcRoutes.Length > 0
                    )

                    for route in generated.Entries.HttpRoutes do
                        for file in director.HttpRoutes do
                            let sameplace =
                                hostHolds file.HostMatcher route.HostMatcher
                                && portHolds file.PortMatcher (uint16 route.PortMatcher)

                            let isConditional =
                                file.PathRules = [ "/api/*" ] || file.ProxyMode = Decoded.ProxyMode.ForwardProxy

                            seen.When("a file's route has a further condition", sameplace && isConditional)
                            Expect.isTrue (not sameplace || isConditional) "a route that can be chosen"

                    for conflict in generated.Conflicts do
                        match conflict.Protocol, conflict.Winner with
                        | Protocol.Http, FileRoute(index, backend) ->
                            seen.When("a file's route wins", true)
                            let file = director.HttpRoutes[index]
                            Expect.equal file.BackendName backend "its backend"

                            let isHere (route: Decoded.HttpRoute) =
                                hostHolds route.HostMatcher conflict.Host
                                && portHolds route.PortMatcher conflict.Port
                                && isWhole route.PathRules

                            let isForward (route: Decoded.HttpRoute) = route.ProxyMode = Decoded.ProxyMode.ForwardProxy

                            let taking =
                                director.HttpRoutes |> List.filter (fun r -> isHere r && not (isForward r))

                            Expect.equal taking.Head file "the first that takes all of it"

                            seen.When(
                                "one for any host precedes one for the host",
                                file.HostMatcher = ""
                                && taking |> List.exists (fun route -> route.HostMatcher <> "")
                            )

                            seen.When(
                                "a forward-proxy route precedes the one that wins",
                                director.HttpRoutes
                                |> List.truncate index
                                |> List.exists (fun route -> isHere route && isForward route)
                            )
                        | Protocol.Grpc, FileRoute(index, backend) ->
                            seen.When("a file's route wins", true)
                            let file = director.GrpcRoutes[index]
                            Expect.equal file.BackendName backend "its backend"
                            Expect.isTrue (hostHolds file.AuthorityHostMatcher conflict.Host) "its host"
                            Expect.isTrue (portHolds file.AuthorityPortMatcher conflict.Port) "its port"

                            for call in calls do
                                if holds conflict.ServiceNameMatcher call then
                                    Expect.isTrue (holds file.ServiceNameMatcher call) $"takes {call}"
                        | _ -> ())

            Law.test
                "without the files' routes, their losers are served"
                500
                [ "a file's route wins", 50 ]
                (Arb.fromGen (Gen.zip director services))
                (fun seen (director, services) ->
                    let state = stateWith director services
                    let conflicts = state.Generate().Conflicts
                    seen.When("a file's route wins", conflicts |> List.exists (fun c -> c.Winner.IsFileRoute))

                    Expect.equal
                        (state.WithFiles(files emptyDirector pool).Generate())
                        ((stateWith emptyDirector services).Generate())
                        "as if they had never been")

            Law.test
                "a backend of the files keeps its name, and the generated route uses it"
                500
                [ "a name is taken", 250 ]
                (Arb.fromGen goodServices)
                (fun seen services ->
                    let before = (start.Replace services).Generate()
                    let taken = before.Entries.Backends.Http |> List.truncate 1

                    let mine =
                        taken
                        |> List.map (fun backend ->
                            { backend with
                                Autogenerated = false
                                MaxRequests = 7u
                            })

                    let taking =
                        { pool with
                            Backends = { pool.Backends with Http = mine }
                        }

                    let after =
                        (DiscoveryState.Create(options, files emptyDirector taking).Replace services).Generate()

                    seen.When("a name is taken", not taken.IsEmpty)

                    Expect.equal after.Entries.HttpRoutes before.Entries.HttpRoutes "the same routes"

                    Expect.equal
                        (mine @ after.Entries.Backends.Http |> List.sortBy (fun b -> b.Name))
                        (mine @ List.skip mine.Length before.Entries.Backends.Http
                         |> List.sortBy (fun b -> b.Name))
                        "one backend of each name"

                    Expect.equal
                        (after.OverriddenBackends |> List.map (fun o -> o.Name))
                        (taken |> List.map (fun b -> b.Name))
                        "and it is reported")

            Law.test
                "what is generated is valid along with any valid files, and takes no request from them"
                500
                [
                    "routes are made", 250
                    "a file's route takes a request", 150
                    "a generated one does", 150
                ]
                (Arb.fromGen (Gen.zip director services))
                (fun seen (director, services) ->
                    let generated = (stateWith director services).Generate()

                    let files = files director pool
                    let before = Configuration.Build files

                    let struct (after, errors) =
                        Configuration.Build(files, generated.Entries, Configuration.Empty)

                    seen.When(
                        "routes are made",
                        not (generated.Entries.HttpRoutes.IsEmpty && generated.Entries.GrpcRoutes.IsEmpty)
                    )

                    Expect.isEmpty errors "nothing is rejected"
                    let mutable byFile = false
                    let mutable byService = false

                    for host in [ "a.ext.example.com"; "b.ext.example.com"; "one.example"; "two.example" ] do
                        for ports in [ AuthorityPorts.Of 80us; AuthorityPorts.Of 8080us; AuthorityPorts.Unspecified ] do
                            for path in [ "/"; "/api/x" ] do
                                let find (configuration: Configuration) =
                                    let headers = HeaderList []

                                    configuration.HttpRouteTable.Match(
                                        System.MemoryExtensions.AsSpan "GET",
                                        System.MemoryExtensions.AsSpan host,
                                        ports,
                                        System.MemoryExtensions.AsSpan path,
                                        System.ReadOnlySpan.Empty,
                                        Decoded.ProxyMode.ReverseProxy,
                                        Decoded.Listener.Tls,
                                        &headers
                                    )

                                match find before, find after with
                                | -1, index -> byService <- byService || index >= 0
                                | file, index ->
                                    byFile <- true
                                    Expect.equal index file "the file's route as before"

                    seen.When("a file's route takes a request", byFile)
                    seen.When("a generated one does", byService))
        ]
