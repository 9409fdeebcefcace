/// What discovery generates, and for whom.
module Kedge.PropertyTests.DiscoveryLaws

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Discovery
open Kedge.PropertyTests.DiscoveryCases

let private distinct (items: 'a list) = List.length (List.distinct items) = List.length items

let private claimsOf (service: Service) = (ServiceReading.ofService options [ "internal_ca" ] service).Claims

let private placeOf (claim: Claim) = claim.Protocol, claim.Host, claim.Port, claim.Methods

/// Who is served in each place.
let private served (generated: Generated) =
    [
        for route in generated.Entries.HttpRoutes do
            (Protocol.Http, route.HostMatcher, uint16 route.PortMatcher, AnyService), route.BackendName

        for route in generated.Entries.GrpcRoutes do
            let methods =
                match ServiceMatcher.tryParse route.ServiceNameMatcher with
                | Ok matcher -> ServicePattern.canonical matcher
                | Error rule -> failwith rule

            (Protocol.Grpc, route.AuthorityHostMatcher, uint16 route.AuthorityPortMatcher, methods), route.BackendName
    ]

/// Two ways to cut one text into a service, a namespace and a target.
let private cuts =
    gen {
        let! length = Gen.choose (3, 6)
        let! text = Gen.elements [ "a"; "-"; "1"; "tls" ] |> Gen.listOfLength length

        let cut =
            gen {
                let! first = Gen.choose (1, length - 2)
                let! second = Gen.choose (first + 1, length - 1)
                let! twin = Gen.elements [ true; false; false ]

                let key: ServiceKey =
                    {
                        Name = String.concat "" text[.. first - 1]
                        Namespace = String.concat "" text[first .. second - 1]
                    }

                return key, String.concat "" text[second..], twin
            }

        return! Gen.zip cut cut
    }

let private nameOf (key, target, twin) =
    if twin then
        BackendName.ofTlsTwin key target
    else
        BackendName.ofTarget key target

[<Tests>]
let tests =
    testList
        "discovery"
        [
            Law.test
                "a backend's name is injective"
                500
                [ "the parts differ but their letters do not", 75; "the parts are equal", 25 ]
                (Arb.fromGen cuts)
                (fun seen (left, right) ->
                    let letters name = (nameOf name).Replace("_", "")

                    seen.When(
                        "the parts differ but their letters do not",
                        left <> right && letters left = letters right
                    )

                    seen.When("the parts are equal", (left = right))
                    Expect.equal (nameOf left = nameOf right) (left = right) "equal names, equal parts")

            Law.test
                "backends have different names, and each is used by a route"
                500
                [ "a target has a plain and a TLS port", 10; "several backends", 150 ]
                (Arb.fromGen services)
                (fun seen services ->
                    let generated = (start.Replace services).Generate()
                    let all = generated.Entries.Backends.Http @ generated.Entries.Backends.Grpc
                    seen.When("several backends", all.Length > 2)

                    seen.When(
                        "a target has a plain and a TLS port",
                        all |> List.exists (fun b -> b.Name.EndsWith "_tls")
                    )

                    for backends, used in
                        [
                            generated.Entries.Backends.Http,
                            generated.Entries.HttpRoutes |> List.map (fun route -> route.BackendName)
                            generated.Entries.Backends.Grpc,
                            generated.Entries.GrpcRoutes |> List.map (fun route -> route.BackendName)
                        ] do
                        let names = backends |> List.map (fun backend -> backend.Name)
                        Expect.isTrue (distinct names) "different names"
                        Expect.equal (List.sortWith (fun l r -> String.CompareOrdinal(l, r)) names) names "by name"
                        Expect.equal (Set.ofList names) (Set.ofList used) "used by a route")

            Law.test
                "routes are ordered by host and port, wildcards behind the hosts that they take, whichever service has them"
                500
                [
                    "several ports of a host", 50
                    "of several services", 15
                    "two wildcards", 30
                ]
                (Arb.fromGen services)
                (fun seen services ->
                    let routes = (start.Replace services).Generate().Entries.HttpRoutes
                    let places = routes |> List.map (fun route -> route.HostMatcher, route.PortMatcher)

                    for _, ofHost in routes |> List.groupBy _.HostMatcher do
                        seen.When("several ports of a host", ofHost.Length > 1)

                        seen.When(
                            "of several services",
                            ofHost
                            |> List.distinctBy (fun r -> r.BackendName.Split('_')[0..1])
                            |> List.length
                                >
                                1
                        )

                    let isWildcard (host: string) = host.StartsWith '*'
                    let wildcards, exact = places |> List.partition (fst >> isWildcard)
                    seen.When("two wildcards", (List.distinctBy fst wildcards).Length > 1)
                    Expect.equal (exact @ wildcards) places "wildcards come last"

                    let byPlace (host: string, port: uint32) (otherHost: string, otherPort: uint32) =
                        match String.CompareOrdinal(host, otherHost) with
                        | 0 -> compare port otherPort
                        | order -> order

                    Expect.equal (List.sortWith byPlace exact) exact "in order"

                    for earlier, later in List.allPairs (List.indexed wildcards) (List.indexed wildcards) do
                        if fst earlier < fst later then
                            let (wide, port), (narrow, otherPort) = snd earlier, snd later
                            Expect.isFalse (narrow.EndsWith(wide.Substring 1) && wide <> narrow) "the narrower first"
                            Expect.isTrue (wide <> narrow || port < otherPort) "ports in order")

            Law.test
                "in each place the oldest claim is served, and every other claim is reported with the winner"
                500
                [ "two claim the same", 100; "three claim the same", 10 ]
                (Arb.fromGen goodServices)
                (fun seen services ->
                    let generated = (start.Replace services).Generate()
                    let places = services |> List.collect claimsOf |> List.groupBy placeOf
                    seen.When("two claim the same", places |> List.exists (fun (_, claims) -> claims.Length > 1))
                    seen.When("three claim the same", places |> List.exists (fun (_, claims) -> claims.Length > 2))

                    let winners =
                        places
                        |> List.map (fun (place, claims) ->
                            place,
                            claims
                            |> List.minBy (fun c -> c.Created, c.Service.Namespace, c.Service.Name, c.PortIndex))

                    Expect.equal
                        (served generated |> List.sort)
                        (winners
                         |> List.map (fun (place, claim) -> place, claim.Backend.Name)
                         |> List.sort)
                        "the oldest is served, and in no place two"

                    let losers =
                        [
                            for place, claims in places do
                                let winner = winners |> List.find (fun (p, _) -> p = place) |> snd

                                for claim in claims do
                                    if claim <> winner then
                                        claim.Service,
                                        claim.Backend.Name,
                                        GeneratedRoute(winner.Service, winner.Backend.Name)
                        ]

                    Expect.equal
                        (generated.Conflicts
                         |> List.map (fun c -> c.Loser, c.LosingBackend, c.Winner)
                         |> List.sort)
                        (List.sort losers)
                        "each loser is reported with its winner")

            Law.test
                "when the winner goes the next is served"
                500
                [ "two services claim the same", 50 ]
                (Arb.fromGen goodServices)
                (fun seen services ->
                    let state = start.Replace services

                    for conflict in state.Generate().Conflicts do
                        match conflict.Winner with
                        | GeneratedRoute(winner, _) when winner <> conflict.Loser ->
                            seen.When("two services claim the same", true)
                            let without = (state.Delete winner).Generate()

                            let place =
                                conflict.Protocol,
                                conflict.Host,
                                conflict.Port,
                                (match ServiceMatcher.tryParse conflict.ServiceNameMatcher with
                                 | Ok matcher -> ServicePattern.canonical matcher
                                 | Error rule -> failwith rule)

                            let heir = served without |> List.tryFind (fun (p, _) -> p = place)
                            Expect.isSome heir "the place is still served"

                            let stillLoses =
                                without.Conflicts
                                |> List.exists (fun c ->
                                    c.Loser = conflict.Loser && c.LosingBackend = conflict.LosingBackend)

                            Expect.isTrue
                                (stillLoses || heir = Some(place, conflict.LosingBackend))
                                "the loser is served unless an older one is"
                        | _ -> ())

            Law.test
                "every port of an exposed service makes a route, or is reported"
                500
                [
                    "a port is ignored", 150
                    "a service is quarantined", 100
                    "two claim the same", 50
                ]
                (Arb.fromGen services)
                (fun seen services ->
                    let generated = (start.Replace services).Generate()
                    seen.When("a port is ignored", not generated.IgnoredPorts.IsEmpty)
                    seen.When("a service is quarantined", not generated.Quarantined.IsEmpty)
                    seen.When("two claim the same", not generated.Conflicts.IsEmpty)

                    for service in services do
                        let isQuarantined =
                            generated.Quarantined |> List.exists (fun q -> q.Service = service.Key)

                        let inReports =
                            (generated.IgnoredPorts |> List.filter (fun p -> p.Service = service.Key)).Length
                            + (generated.Conflicts |> List.filter (fun c -> c.Loser = service.Key)).Length

                        let inRoutes =
                            served generated
                            |> List.filter (fun (_, backend) ->
                                backend.StartsWith($"{service.Name}_{service.Namespace}_", StringComparison.Ordinal))
                            |> List.length

                        if ServiceReading.isExposed options service then
                            if not isQuarantined then
                                Expect.equal (inReports + inRoutes) service.Ports.Length "each port once"
                        else
                            Expect.equal (inReports + inRoutes) 0 "a service that is not exposed has no say")

            Law.test
                "a bad service changes nothing for others"
                500
                [ "it is bad", 500; "others have routes", 250 ]
                (Arb.fromGen (
                    gen {
                        let! services = services
                        let! bad = versionOf { Namespace = "z"; Name = "z" } 1

                        let bad =
                            { bad with
                                Labels = Map.ofList [ options.ExposedLabel, "true" ]
                                Annotations = bad.Annotations.Add(options.HostMatcherAnnotation, "not a host")
                            }

                        return services, bad
                    }
                ))
                (fun seen (services, bad) ->
                    let state = start.Replace services
                    let without = state.Generate()
                    let withBad = (state.Upsert bad).Generate()

                    seen.When(
                        "others have routes",
                        not (without.Entries.HttpRoutes.IsEmpty && without.Entries.GrpcRoutes.IsEmpty)
                    )

                    seen.When("it is bad", withBad.Quarantined |> List.exists (fun q -> q.Service = bad.Key))

                    Expect.equal
                        { withBad with
                            Quarantined = withBad.Quarantined |> List.filter (fun q -> q.Service <> bad.Key)
                            IgnoredPorts = withBad.IgnoredPorts |> List.filter (fun p -> p.Service <> bad.Key)
                        }
                        without
                        "all else as before")

            Law.test
                "a service that goes bad keeps its last good routes, until it is deleted or not exposed"
                500
                [ "it had routes", 150 ]
                (Arb.fromGen goodServices)
                (fun seen services ->
                    let state = start.Replace services
                    let before = state.Generate()
                    let victim = services.Head

                    let bad =
                        { victim with
                            Labels = Map.ofList [ options.ExposedLabel, "true" ]
                            Annotations = victim.Annotations.Add(options.TlsConfigAnnotation, "unknown")
                            ResourceVersion = "2"
                        }

                    let isExposed = ServiceReading.isExposed options victim
                    let claims = claimsOf victim
                    seen.When("it had routes", not claims.IsEmpty)
                    let worse = state.Upsert bad
                    let after = worse.Generate()
                    Expect.equal (served after) (served before) "the same routes"

                    Expect.equal
                        (after.Entries.Backends.Http, after.Entries.Backends.Grpc)
                        (before.Entries.Backends.Http, before.Entries.Backends.Grpc)
                        "the same backends"

                    Expect.equal
                        (after.Quarantined |> List.map (fun q -> q.Service, q.RoutesKept))
                        [ victim.Key, (if isExposed then claims.Length else 0) ]
                        "and it is reported"

                    let hidden =
                        { bad with
                            Labels = Map.empty
                            ResourceVersion = "3"
                        }

                    let gone = (state.Delete victim.Key).Generate()
                    Expect.equal ((worse.Delete victim.Key).Generate()) gone "deleted"
                    Expect.equal ((worse.Upsert hidden).Generate()) gone "not exposed"

                    let again = (worse.Upsert hidden).Upsert { bad with ResourceVersion = "4" }
                    Expect.equal (served (again.Generate())) (served gone) "nothing is left to keep"

                    let successor =
                        { bad with
                            Uid = "2"
                            ResourceVersion = "5"
                        }

                    Expect.equal (served ((worse.Upsert successor).Generate())) (served gone) "another of that name")

            Law.test
                "a TLS configuration that leaves the files takes its routes along, and only those"
                500
                [ "a service names it", 150 ]
                (Arb.fromGen goodServices)
                (fun seen services ->
                    let named, others =
                        services
                        |> List.partition (fun service ->
                            ServiceReading.isExposed options service
                            && service.Annotations.ContainsKey options.TlsConfigAnnotation)

                    seen.When("a service names it", not named.IsEmpty)

                    let after =
                        (start.Replace services).WithFiles(files emptyDirector { pool with TlsServerConfigs = [] })

                    let expected = (start.Replace others).Generate()
                    Expect.equal (served (after.Generate())) (served expected) "the others'"

                    let back = after.WithFiles(files emptyDirector pool)
                    Expect.equal (back.Generate()) ((start.Replace services).Generate()) "it comes back")

            Law.test
                "for one host, a narrower service_name_matcher comes first"
                500
                [ "one matcher takes more than another", 50 ]
                (Arb.fromGen goodServices)
                (fun seen services ->
                    let grpc =
                        served ((start.Replace services).Generate())
                        |> List.filter (fun ((protocol, _, _, _), _) -> protocol = Protocol.Grpc)

                    for i, ((_, host, _, methods), _) in List.indexed grpc do
                        for (_, laterHost, _, laterMethods), _ in List.skip (i + 1) grpc do
                            if host = laterHost && methods <> laterMethods then
                                seen.When(
                                    "one matcher takes more than another",
                                    ServicePattern.covers laterMethods methods
                                )

                                Expect.isFalse (ServicePattern.covers methods laterMethods) "narrower first")
        ]
