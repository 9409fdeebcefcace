module Kedge.PropertyTests.AnalysisLaws

open System
open System.Collections.Generic
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.TableGenerators

let private reachLaws (subject: Subject<'route, 'request>) =
    let reach = Analysis.reach subject.Semantics
    let holds = subject.Semantics.Holds

    let isHidden state =
        match state with
        | Reached _
        | OnlyAsterisk _ -> false
        | ShadowedBy _
        | CoveredBy _
        | NeverHolds -> true

    let reachedInUniverse routes =
        let reached = HashSet<int>()

        for request in subject.Universe do
            subject.Match routes request |> Option.iter (reached.Add >> ignore)

        reached

    testList
        subject.Name
        [
            law
                "a route is called hidden exactly when no request of the universe is decided by it"
                subject.Table
                60
                (fun routes -> reach routes |> Array.exists isHidden)
                (fun routes ->
                    let reached = reachedInUniverse routes

                    reach routes
                    |> Array.iteri (fun route state ->
                        if isHidden state = reached.Contains route then
                            failtest $"route {route} of {routes}: {state}"))

            law
                "a route that is not called hidden decides about its witness"
                subject.Table
                50
                (fun routes -> routes.Length > 1)
                (fun routes ->
                    reach routes
                    |> Array.iteri (fun route state ->
                        match state with
                        | Reached witness
                        | OnlyAsterisk(witness, _, _) -> Expect.equal (subject.Match routes witness) (Some route) ""
                        | _ -> ()))

            law
                "a hidden route's witness satisfies it and is decided by the route that hides it"
                subject.Table
                60
                (fun routes -> reach routes |> Array.exists isHidden)
                (fun routes ->
                    reach routes
                    |> Array.iteri (fun route state ->
                        match state with
                        | ShadowedBy(earlier, taken) ->
                            Expect.isTrue (holds routes[route] taken) "satisfies it"
                            Expect.isTrue (holds routes[earlier] taken) "is taken earlier"
                            Expect.isLessThan earlier route "earlier"

                            // One route alone is enough.
                            let without = [| routes[earlier]; routes[route] |]
                            Expect.isFalse ((reachedInUniverse without).Contains 1) "shadowed by this one alone"
                        | CoveredBy taken ->
                            Expect.isGreaterThan taken.Length 1 "several routes"

                            for earlier, request in taken do
                                Expect.isTrue (holds routes[route] request) "satisfies it"
                                Expect.equal (subject.Match routes request) (Some earlier) "is taken earlier"

                            for earlier in 0 .. route - 1 do
                                let without = [| routes[earlier]; routes[route] |]

                                Expect.isTrue ((reachedInUniverse without).Contains 1) "no single route shadows it"
                        | NeverHolds ->
                            Expect.isFalse (subject.Universe |> Array.exists (holds routes[route])) "never holds"
                        | Reached _
                        | OnlyAsterisk _ -> ()))
        ]

let private http (routes: HttpRoute array) = Analysis.http [ "one"; "two" ] routes
let private grpc (routes: GrpcRoute array) = Analysis.grpc [ "one"; "two" ] routes

/// The backends that a route names.
let private named (route: HttpRoute) : string list =
    [
        match route.Outcome.Action with
        | ToBackend backend -> backend
        | Splits split ->
            for backend in split.Backends do
                backend.Name
        | _ -> ()

        for mirror in route.Outcome.Mirrors do
            mirror.Backend
    ]

let private findings =
    testList
        "findings"
        [
            law
                "the covering of a route by several others occurs"
                (table httpRoute)
                1
                (fun routes -> Analysis.reach RouteSemantics.http routes |> Array.exists _.IsCoveredBy)
                ignore

            law
                "a duplicate has the matchers of the route it repeats, up to order and repetition"
                (table httpRoute
                 |> Gen.bind (fun routes ->
                     if routes.Length = 0 then
                         Gen.constant routes
                     else
                         Gen.elements routes |> Gen.map (fun again -> Array.append routes [| again |])))
                50
                (fun routes -> http routes |> List.exists _.IsDuplicate)
                (fun routes ->
                    for finding in http routes do
                        match finding with
                        | Duplicate(route, first, taken) ->
                            Expect.isLessThan first route ""
                            Expect.isTrue (Router.httpRouteHolds routes[first] taken) ""

                            for request in httpUniverse do
                                Expect.equal
                                    (Router.httpRouteHolds routes[route] request)
                                    (Router.httpRouteHolds routes[first] request)
                                    "the same requests"
                        | _ -> ())

            law
                "a path rule that is reported never to match takes no path, and each such rule among others is reported"
                (table httpRoute)
                50
                (fun routes -> http routes |> List.exists _.IsNeverMatchingPath)
                (fun routes ->
                    let reported =
                        http routes
                        |> List.choose (fun finding ->
                            match finding with
                            | NeverMatchingPath(route, rule) -> Some(route, rule)
                            | _ -> None)

                    routes
                    |> Array.iteri (fun route r ->
                        r.Paths
                        |> Array.iteri (fun rule path ->
                            let dead = path = ExactPath "/a/../b" || path = PathPrefix "/a//"
                            let expected = dead && r.Paths.Length > 1
                            Expect.equal (List.contains (route, rule) reported) expected $"{path}")))

            law
                "each route of an unknown backend is reported once, with a request that reaches it if there is one"
                (table httpRoute)
                50
                (fun routes -> http routes |> List.exists _.IsDanglingBackend)
                (fun routes ->
                    let reported =
                        http routes
                        |> List.choose (fun finding ->
                            match finding with
                            | DanglingBackend(route, backend, witness) ->
                                Expect.contains (named routes[route]) backend "it is named"
                                Expect.equal backend "three" "the only unknown one"

                                witness
                                |> ValueOption.iter (fun request ->
                                    Expect.equal (Router.matchHttp routes request) (Some route) "reaches it")

                                if witness.IsNone then
                                    Expect.isFalse
                                        (httpUniverse
                                         |> Array.exists (fun request -> Router.matchHttp routes request = Some route))
                                        "nothing reaches it"

                                Some route
                            | _ -> None)

                    let expected =
                        [
                            for route in 0 .. routes.Length - 1 do
                                if List.contains "three" (named routes[route]) then
                                    route
                        ]

                    Expect.equal reported expected "")

            law
                "an overlap's witness is named by both prefixes and goes to the shorter one's backend"
                (table grpcRoute)
                8
                (fun routes -> grpc routes |> List.exists _.IsPrefixOverlap)
                (fun routes ->
                    for finding in grpc routes do
                        match finding with
                        | PrefixOverlap(route, earlier, taken) ->
                            Expect.isLessThan earlier route ""
                            Expect.isTrue (Router.grpcRouteHolds routes[route] taken) "both"
                            Expect.equal (Router.matchGrpc routes taken) (Some earlier) "earlier"
                            Expect.notEqual routes[route].Outcome.Action routes[earlier].Outcome.Action "order matters"
                        | _ -> ())

            law
                "a shorter prefix is reported when it takes calls of a later route's longer prefix, for all of its hosts"
                (table grpcRoute)
                4
                (fun routes ->
                    grpc routes
                    |> List.exists (fun finding ->
                        match finding with
                        | PrefixOverlap(route, earlier, _) -> routes[earlier].Host <> routes[route].Host
                        | _ -> false))
                (fun routes ->
                    let reach = Analysis.reach RouteSemantics.grpc routes

                    let prefixOf (route: GrpcRoute) =
                        match route.Service with
                        | ServicePrefix prefix
                        | MethodPrefix prefix -> Some prefix
                        | _ -> None

                    let takesHostsOf wide narrow =
                        match wide, narrow with
                        | AnyHost, _ -> true
                        | HostBelow parent, (ExactHost name | HostBelow name) ->
                            wide = narrow || name.EndsWith("." + parent, System.StringComparison.Ordinal)
                        | _ -> wide = narrow

                    let isTaken route earlier =
                        TableGenerators.grpcUniverse
                        |> Array.exists (fun request ->
                            Router.grpcRouteHolds routes[route] request
                            && Router.matchGrpc routes request = Some earlier)

                    let expected =
                        [
                            for route in 0 .. routes.Length - 1 do
                                match prefixOf routes[route] with
                                | Some longer when reach[route].IsReached ->
                                    let overlaps earlier =
                                        match prefixOf routes[earlier] with
                                        | Some shorter ->
                                            shorter.Length < longer.Length
                                            && longer.StartsWith(shorter, System.StringComparison.Ordinal)
                                            && takesHostsOf routes[earlier].Host routes[route].Host
                                            && routes[earlier].Outcome.Action <> routes[route].Outcome.Action
                                            && isTaken route earlier
                                        | None -> false

                                    if Seq.exists overlaps (seq { 0 .. route - 1 }) then
                                        route
                                | _ -> ()
                        ]

                    let told =
                        grpc routes
                        |> List.choose (fun finding ->
                            match finding with
                            | PrefixOverlap(route, _, _) -> Some route
                            | _ -> None)

                    Expect.equal told expected "the routes that are overlapped")

            law
                "a prefix that misses its root is reported with a request for the root that goes elsewhere"
                (table httpRoute)
                30
                (fun routes -> http routes |> List.exists _.IsPrefixMissesRoot)
                (fun routes ->
                    let reach = Analysis.reach RouteSemantics.http routes
                    let winner request = Router.matchHttp routes request

                    let isElsewhere route request =
                        match winner request with
                        | None -> true
                        | Some other -> routes[other].Outcome <> routes[route].Outcome

                    let reported =
                        [
                            for finding in http routes do
                                match finding with
                                | PrefixMissesRoot(route, rule, taken, other) ->
                                    Expect.equal (ValueOption.toOption other) (winner taken) "goes there"
                                    Expect.isTrue (isElsewhere route taken) "another outcome"
                                    Expect.isFalse (Router.httpRouteHolds routes[route] taken) "the route misses it"
                                    let text = routes[route].Paths[rule].Text
                                    Expect.equal (taken.Path + "/*") text "the root of the rule"
                                    route, rule
                                | _ -> ()
                        ]

                    for route in 0 .. routes.Length - 1 do
                        for rule in 0 .. routes[route].Paths.Length - 1 do
                            match routes[route].Paths[rule] with
                            | PathPrefix "/a/" when reach[route].IsReached ->
                                let atRoot =
                                    { routes[route] with
                                        Paths = [| ExactPath "/a" |]
                                    }

                                let requests =
                                    httpUniverse
                                    |> Array.filter (fun request -> Router.httpRouteHolds atRoot request)

                                let takesRoot = routes[route].Paths |> Array.exists _.Holds("/a".AsSpan())

                                if not takesRoot && Array.forall (isElsewhere route) requests then
                                    Expect.contains reported (route, rule) "is reported"
                            | _ -> ())

            law
                "a wildcard that comes before a host is reported exactly when it takes requests of the host's route"
                (table httpRoute)
                10
                (fun routes -> http routes |> List.exists _.IsWildcardFirst)
                (fun routes ->
                    let reach = Analysis.reach RouteSemantics.http routes

                    let takes route earlier =
                        httpUniverse
                        |> Array.exists (fun request ->
                            Router.httpRouteHolds routes[route] request
                            && Router.matchHttp routes request = Some earlier)

                    let isWider earlier route =
                        match routes[earlier].Host, routes[route].Host with
                        | HostBelow _, AnyHost -> false
                        | HostBelow _ as wide, (ExactHost name | HostBelow name) ->
                            wide <> routes[route].Host && wide.Holds(name.AsSpan())
                        | _ -> false

                    let expected =
                        [
                            for route in 0 .. routes.Length - 1 do
                                let isReported =
                                    reach[route].IsReached
                                    && Seq.exists
                                        (fun earlier ->
                                            isWider earlier route
                                            && routes[earlier].Outcome <> routes[route].Outcome
                                            && takes route earlier)
                                        (seq { 0 .. route - 1 })

                                if isReported then
                                    route
                        ]

                    let reported =
                        [
                            for finding in http routes do
                                match finding with
                                | WildcardFirst(route, earlier, taken) ->
                                    Expect.isTrue (isWider earlier route) "a wider wildcard"
                                    Expect.isTrue (Router.httpRouteHolds routes[route] taken) "a request of the route"
                                    Expect.equal (Router.matchHttp routes taken) (Some earlier) "goes to the wildcard"
                                    route
                                | _ -> ()
                        ]

                    Expect.equal reported expected "the routes after a wildcard")

            law
                "a backend is unused exactly when no route names it"
                (table httpRoute)
                30
                (fun routes -> routes.Length > 0 && routes.Length < 4)
                (fun routes ->
                    let unused =
                        Analysis.unusedBackends RouteSemantics.http routes [ "one"; "two"; "three" ]

                    for name in [ "one"; "two"; "three" ] do
                        Expect.equal
                            (List.contains name unused)
                            (routes |> Array.forall (named >> List.contains name >> not))
                            name)
        ]

let private anyHttp: HttpRoute =
    { HttpRoute.ToBackend "one" with
        Host = ExactHost "a.example"
    }

let private examples =
    testSequenced
    <| testList
        "examples"
        [
            testCase "after `/*` only OPTIONS * is left"
            <| fun () ->
                let routes =
                    [|
                        { anyHttp with
                            Paths = [| PathPrefix "/" |]
                        }
                        anyHttp
                    |]

                match (Analysis.reach RouteSemantics.http routes)[1] with
                | OnlyAsterisk(witness, _, 0) -> Expect.equal witness.Path "*" ""
                | other -> failtest $"{other}"

            testCase
                "a prefix is unreachable when earlier rules take every way on from it, and reachable when one is left"
            <| fun () ->
                // Everything that can follow `/p` in a canonical path, as RFC 3986 has it.
                let nexts =
                    "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~!$&'()*+,;=:@/%"

                let earlier (nexts: string) =
                    [|
                        { anyHttp with
                            Paths = [| ExactPath "/p" |]
                        }
                        for c in nexts do
                            { anyHttp with
                                Paths = [| PathPrefix $"/p{c}" |]
                            }
                    |]

                let reachOfLast nexts =
                    let routes =
                        Array.append
                            (earlier nexts)
                            [|
                                { anyHttp with
                                    Paths = [| PathPrefix "/p" |]
                                }
                            |]

                    Array.last (Analysis.reach RouteSemantics.http routes)

                match reachOfLast nexts with
                | CoveredBy taken -> Expect.equal taken.Length (nexts.Length + 1) "each earlier route takes its part"
                | other -> failtest $"{other}"

                for left in nexts do
                    match reachOfLast (nexts.Replace(string left, "")) with
                    | Reached witness -> Expect.stringStarts witness.Path $"/p{left}" "the way that is left"
                    | other -> failtest $"{left}: {other}"

            testCase "two values of one header are not a contradiction"
            <| fun () ->
                let both: HeaderMatcher array =
                    [|
                        {
                            Name = "x"
                            Condition = Decoded.HeaderCondition.Is "1"
                        }
                        {
                            Name = "x"
                            Condition = Decoded.HeaderCondition.Is "2"
                        }
                    |]

                Expect.all (Analysis.reach RouteSemantics.http [| { anyHttp with Headers = both } |]) _.IsReached ""

            testCase "ten thousand routes take about a second"
            <| fun () ->
                let routes =
                    [|
                        for i in 0..9_999 ->
                            { anyHttp with
                                Host = ExactHost $"h{i % 5_000}.example"
                                Paths = [| PathPrefix $"/{i / 5_000}/" |]
                            }
                    |]

                withinProcessorTime 5.0 (fun () ->
                    Expect.all (Analysis.reach RouteSemantics.http routes) _.IsReached "")
        ]

[<Tests>]
let tests =
    testList
        "analysis"
        [
            reachLaws TableGenerators.http
            reachLaws TableGenerators.conditions
            reachLaws TableGenerators.grpc
            findings
            examples
        ]
