/// Laws of the moves that cure hidden routes.
module Kedge.PropertyTests.CureLaws

open Expecto
open Kedge.Domain
open Kedge.PropertyTests.TableGenerators

let private hiddenIn (semantics: RouteSemantics<'route, 'request>) (routes: 'route array) =
    [
        for route, reach in Seq.indexed (Analysis.reach semantics routes) do
            match reach with
            | ShadowedBy _
            | CoveredBy _
            | OnlyAsterisk _ -> route, reach
            | Reached _
            | NeverHolds -> ()
    ]

let private moved (order: int list) (route: int) (target: CurePlace) =
    let rest = List.except [ route ] order

    match target with
    | Before other -> List.insertAt (List.findIndex ((=) other) rest) route rest
    | After other -> List.insertAt (List.findIndex ((=) other) rest + 1) route rest

let private reached semantics (routes: 'route array) (order: int list) : Set<int> =
    let table = order |> List.map (fun index -> routes[index]) |> List.toArray

    Set
        [
            for place, reach in Seq.indexed (Analysis.reach semantics table) do
                if reach.IsReached then
                    order[place]
        ]

let private laws (subject: Subject<'route, 'request>) =
    let semantics = subject.Semantics

    testList
        subject.Name
        [
            law
                "after all cures, each cured route is reached, and so is each that was before"
                subject.Table
                40
                (fun routes -> (Cure.find semantics routes (hiddenIn semantics routes)).Count > 0)
                (fun routes ->
                    let cures = Cure.find semantics routes (hiddenIn semantics routes)
                    let all = [ 0 .. routes.Length - 1 ]

                    // One cure may be that of several routes.
                    let steps =
                        [ for route in Seq.sort cures.Keys -> cures[route] ]
                        |> List.distinctBy (fun cure -> cure.Moved, cure.To)

                    let final =
                        (all, steps)
                        ||> List.fold (fun order cure ->
                            let next = moved order cure.Moved cure.To
                            let table order = order |> List.map (fun index -> routes[index]) |> List.toArray
                            let before, after = table order, table next

                            let winner order (table: 'route array) request =
                                subject.Match table request |> Option.map (fun at -> List.item at order)

                            let isMoved =
                                subject.Universe
                                |> Array.exists (fun request ->
                                    subject.Outcome before request <> subject.Outcome after request)

                            Expect.equal
                                cure.Moves.IsEmpty
                                (not isMoved)
                                "moves requests exactly when outcomes differ"

                            for move in cure.Moves do
                                Expect.equal (winner order before move.Request) (Some move.Before) "took it"
                                Expect.equal (winner next after move.Request) (Some move.After) "takes it"

                            next)

                    let before = reached semantics routes all
                    let after = reached semantics routes final

                    Expect.equal (Set.difference before after) Set.empty "none is hidden that was not"

                    for route in cures.Keys do
                        Expect.isTrue (after.Contains route) $"{route} is cured")

            law
                "a route that one route hides has a cure exactly when some move of one of the two cures it"
                subject.Table
                40
                (fun routes -> not (hiddenIn semantics routes).IsEmpty)
                (fun routes ->
                    match hiddenIn semantics routes with
                    | [ route, (ShadowedBy(hider, _) as shadow) ] ->
                        let all = [ 0 .. routes.Length - 1 ]
                        let before = reached semantics routes all

                        let isCure order =
                            let after = reached semantics routes order
                            after.Contains route && Set.isSubset before after

                        let exists =
                            [
                                for route in [ route; hider ] do
                                    for other in all do
                                        if other <> route then
                                            moved all route (Before other)
                                            moved all route (After other)
                            ]
                            |> List.exists isCure

                        let cures = Cure.find semantics routes [ route, shadow ]
                        Expect.equal (cures.ContainsKey route) exists "there is a cure"
                    | _ -> ())
        ]

[<Tests>]
let tests =
    testList
        "cures"
        [
            laws TableGenerators.http
            laws TableGenerators.conditions
            laws TableGenerators.grpc
        ]
