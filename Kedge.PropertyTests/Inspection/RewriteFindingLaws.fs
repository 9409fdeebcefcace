/// What `kedge check` says about rewrites, compared with every path of a small world.
module Kedge.PropertyTests.RewriteFindingLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private load (routes: string list) : HttpRoute array =
    let json = "{ \"http\": { \"routes\": [" + String.concat ", " routes + "] } }"

    match ConfigFile.loadDirector "d" (ReadOnlyMemory(Encoding.UTF8.GetBytes json)) with
    | Ok director -> director.Value.HttpRoutes
    | Error errors -> failtestf "%A of %s" errors json

let private prefix replacement = $", \"rewrite\": {{ \"replace_prefix\": \"{replacement}\" }}"
let private full path = $", \"rewrite\": {{ \"replace_full\": \"{path}\" }}"

/// A route for what is below `root` in one way or another, perhaps with a rewrite.
let private routeBelow (host: string) (root: string) =
    gen {
        let! backend = Gen.frequency [ 4, Gen.constant "one"; 1, Gen.constant "two" ]
        let! isPrefix = Gen.frequency [ 3, Gen.constant true; 1, Gen.constant false ]

        let! rules =
            if isPrefix then
                Gen.elements [ [ root + "/**" ]; [ root + "/*" ] ]
            else
                Gen.elements [ [ root ]; [ root; root ]; [ root; root + "/b" ]; [ root + "/b" ] ]

        let! rewrite =
            let whole = Gen.elements [ "/a"; "/b"; "/v1"; "/v1/b" ] |> Gen.map full

            if isPrefix then
                Gen.frequency
                    [
                        1, Gen.constant ""
                        4, Gen.elements [ ""; "/"; "/a"; "/a/"; "/b"; "/v1"; "/v1/b" ] |> Gen.map prefix
                        1, whole
                    ]
            else
                Gen.frequency [ 1, Gen.constant ""; 2, whole ]

        let rules = rules |> List.map (sprintf "\"%s\"") |> String.concat ", "

        return
            $"{{ \"backend_name\": \"{backend}\", \"host_matcher\": \"{host}\", \"path_rules\": [{rules}]{rewrite} }}"
    }

/// The paths that the routes above and their rewrites can tell apart.
let private paths =
    [
        "/"
        for root in [ "/a"; "/b"; "/v1" ] do
            for middle in [ ""; "/a"; "/b"; "/v1"; "/v1/b" ] do
                for rest in [ ""; "/"; "/b"; "/b/"; "/z"; "/b/z" ] do
                    root + middle + rest
        "/z"
        "/az"
    ]
    |> List.distinct

let private takes (route: HttpRoute) (path: string) =
    route.Paths |> Array.exists (fun rule -> rule.Holds(path.AsSpan()))

let private findings (routes: HttpRoute array) = Analysis.http [ "one"; "two" ] routes

let private samePaths routes =
    findings routes
    |> List.choose (fun finding ->
        match finding with
        | SamePath(route, earlier, taken, takenEarlier) -> Some(route, earlier, taken, takenEarlier)
        | _ -> None)

let private hostOf (route: HttpRoute) = route.Host.Text

[<Tests>]
let tests =
    testList
        "findings about rewrites"
        [
            Law.test
                "rewrite-without-effect: exactly for the rewrites that leave each path as it is that the route takes"
                5_000
                [ "reported", 200; "a whole path", 50; "not reported", 1_000 ]
                (Gen.elements [ "/a"; "/b"; "/v1" ]
                 |> Gen.bind (routeBelow "h.example")
                 |> Arb.fromGen)
                (fun seen json ->
                    let routes = load [ json ]
                    let filters = routes[0].Outcome.Filters

                    let reported =
                        findings routes
                        |> List.choose (fun finding ->
                            match finding with
                            | RewriteWithoutEffect(0, witness) -> Some witness
                            | _ -> None)

                    let isWithout =
                        filters.Path.IsSome
                        && paths
                           |> List.filter (takes routes[0])
                           |> List.forall (fun path -> filters.Forth path = path)

                    Expect.equal (not reported.IsEmpty) isWithout json
                    Expect.isLessThan reported.Length 2 "once"

                    for witness in reported do
                        match witness with
                        | ValueSome request ->
                            Expect.equal (Router.matchHttp routes request) (Some 0) "its request is the route's"
                            Expect.equal (filters.Forth request.Path) request.Path "and does not change"
                        | ValueNone -> failtestf "a request reaches it: %s" json

                    seen.When("reported", isWithout)
                    seen.When("a whole path", (isWithout && filters.Path.Value.IsWholePath))
                    seen.When("not reported", (filters.Path.IsSome && not isWithout)))

            Law.test
                "same-path-from-two-routes: its requests reach the two routes, and their backend sees one path"
                3_000
                [ "reported", 500; "of several routes", 100; "none", 300 ]
                (Gen.zip (Gen.elements [ "h.example"; "h.example"; "i.example" ]) (Gen.elements [ "/a"; "/b"; "/v1" ])
                 |> Gen.bind (fun (host, root) -> routeBelow host root)
                 |> Gen.listOf
                 |> Gen.resize 6
                 |> Arb.fromGen)
                (fun seen json ->
                    let routes = load json
                    let found = samePaths routes

                    for route, earlier, taken, takenEarlier in found do
                        let forth index = routes[index].Outcome.Filters.Forth
                        Expect.isLessThan earlier route "in order"
                        Expect.equal (Router.matchHttp routes taken) (Some route) "reaches the route"
                        Expect.equal (Router.matchHttp routes takenEarlier) (Some earlier) "reaches the earlier route"
                        Expect.notEqual taken.Path takenEarlier.Path "two paths of callers"

                        Expect.equal
                            (forth route taken.Path)
                            (forth earlier takenEarlier.Path)
                            "one path of the backend"

                        let action index = routes[index].Outcome.Action
                        Expect.equal (action route) (action earlier) "one backend"
                        Expect.equal (hostOf routes[route]) (hostOf routes[earlier]) "one host"

                    let later = found |> List.map (fun (route, _, _, _) -> route)
                    Expect.equal (List.distinct later) later "each route once"
                    seen.When("reported", not found.IsEmpty)
                    seen.When("of several routes", (later.Length > 1))
                    seen.When("none", (routes.Length > 1 && found.IsEmpty)))

            Law.test
                "same-path-from-two-routes: of two routes without a common path, exactly when both lead to one path"
                5_000
                [ "reported", 500; "not reported", 500 ]
                (Gen.zip (routeBelow "h.example" "/a") (routeBelow "h.example" "/b")
                 |> Arb.fromGen)
                (fun seen (one, other) ->
                    let routes = load [ one; other ]

                    let seenBy (route: HttpRoute) =
                        paths
                        |> List.filter (takes route)
                        |> List.map route.Outcome.Filters.Forth
                        |> Set

                    let isSame =
                        routes[0].Outcome.Action = routes[1].Outcome.Action
                        && not (Set.intersect (seenBy routes[0]) (seenBy routes[1])).IsEmpty

                    Expect.equal (not (samePaths routes).IsEmpty) isSame $"{one} {other}"
                    seen.When("reported", isSame)
                    seen.When("not reported", not isSame))
        ]
