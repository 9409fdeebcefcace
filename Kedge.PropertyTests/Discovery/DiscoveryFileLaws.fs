/// Generated routes beside those of the files.
module Kedge.PropertyTests.DiscoveryFileLaws

open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Discovery
open Kedge.PropertyTests.DiscoveryCases

let private stateWith director services = DiscoveryState.Create(options, director, pool).Replace services

/// Calls that tell matchers apart.
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

let private portHolds (matcher: uint32) (port: uint16) = matcher = 0u || matcher = uint32 port

[<Tests>]
let tests =
    testList
        "discovery: the files"
        [
            Guarded.law
                "what the files' routes claim whole is not generated, and is reported with the route"
                [
                    "a file's route wins", 30
                    "a file's route has a further condition", 20
                    "routes are made", 50
                ]
                (Gen.zip director services)
                (fun seen (director, services) ->
                    let generated = (stateWith director services).Generate()
                    seen.When("routes are made", generated.HttpRoutes.Length + generated.GrpcRoutes.Length > 0)

                    for route in generated.HttpRoutes do
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
                            Expect.isTrue (hostHolds file.HostMatcher conflict.Host) "its host"
                            Expect.isTrue (portHolds file.PortMatcher conflict.Port) "its port"
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

            Guarded.law
                "without the files' routes, their losers are served"
                [ "a file's route wins", 10 ]
                (Gen.zip director services)
                (fun seen (director, services) ->
                    let state = stateWith director services
                    let conflicts = state.Generate().Conflicts
                    seen.When("a file's route wins", conflicts |> List.exists (fun c -> c.Winner.IsFileRoute))

                    Expect.equal
                        (state.WithFiles(emptyDirector, pool).Generate())
                        ((stateWith emptyDirector services).Generate())
                        "as if they had never been")

            Guarded.law
                "a backend of the files keeps its name, and the generated route uses it"
                [ "a name is taken", 50 ]
                goodServices
                (fun seen services ->
                    let before = (start.Replace services).Generate()
                    let taken = before.HttpBackends |> List.truncate 1

                    let mine =
                        taken
                        |> List.map (fun backend ->
                            { backend with
                                Autogenerated = false
                                MaxRequests = 7u
                            })

                    let files = { pool with HttpBackends = mine }

                    let after =
                        (DiscoveryState.Create(options, emptyDirector, files).Replace services).Generate()

                    seen.When("a name is taken", not taken.IsEmpty)

                    Expect.equal after.HttpRoutes before.HttpRoutes "the same routes"

                    Expect.equal
                        (mine @ after.HttpBackends |> List.sortBy (fun b -> b.Name))
                        (mine @ List.skip mine.Length before.HttpBackends
                         |> List.sortBy (fun b -> b.Name))
                        "one backend of each name"

                    Expect.equal
                        (after.OverriddenBackends |> List.map (fun o -> o.Name))
                        (taken |> List.map (fun b -> b.Name))
                        "and it is reported")
        ]
