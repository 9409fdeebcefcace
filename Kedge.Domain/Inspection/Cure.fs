namespace Kedge.Domain

open System.Collections.Generic

/// Where a route is moved to.
type CurePlace =
    | Before of route: int
    | After of route: int

/// A move of one route that makes a hidden route reachable and hides no other route. Indexes are those of the analysed
/// array.
type Cure<'request> =
    {
        Moved: int
        To: CurePlace
        /// What the move changes: requests, each with the route that took it before and the one that takes it now.
        /// Empty when the routes have the same outcome.
        Moves: Move<'request> list
    }

/// Finds moves of routes that cure what `Analysis.reach` finds hidden. Cures build on each other: each assumes that the
/// cures of earlier routes have been applied, and one that cures several routes is shared by them. After all of them,
/// no route that has a cure is hidden.
[<RequireQualifiedAccess>]
module Cure =

    /// The most hidden routes that are cured, which bounds the work for a table that is wrong as a whole.
    [<Literal>]
    let private Most = 100

    /// The most places that are tried for one route.
    [<Literal>]
    let private MostTries = 8

    /// The routes of a table in the order that the cures so far have given them.
    [<Sealed>]
    type private Order<'route, 'request>
        (semantics: RouteSemantics<'route, 'request>, routes: 'route array, conditions: RequestConditions array) =

        let space = RouteSemantics.space semantics conditions
        let order = List<int>(Seq.init routes.Length id)
        let place = Array.init routes.Length id

        let renumber () =
            for at in 0 .. order.Count - 1 do
                place[order[at]] <- at

        let byHost = Dictionary<HostMatcher, List<int>>()

        do
            for route in 0 .. routes.Length - 1 do
                match byHost.TryGetValue conditions[route].Host with
                | true, list -> list.Add route
                | _ -> byHost[conditions[route].Host] <- List [ route ]

        /// The routes that may share a request with this one, judging by their hosts.
        let related (route: int) : int seq =
            match conditions[route].Host with
            | ExactHost _ as host ->
                seq {
                    for host in host :: AnyHost :: host.Wildcards do
                        match byHost.TryGetValue host with
                        | true, list -> yield! list
                        | _ -> ()
                }
            | _ -> Seq.init routes.Length id

        member _.Place(route: int) = place[route]

        /// This route and the routes that share a request with it, in order.
        member _.Around(route: int) : int array =
            related route
            |> Seq.filter (fun other ->
                other = route
                || (RequestConditions.meet conditions[route] conditions[other]).IsSome)
            |> Seq.sortBy (fun other -> place[other])
            |> Seq.toArray

        /// Whether a request reaches the route, as defined by `Analysis.reach`: `OPTIONS *` counts only for a route
        /// that takes nothing else.
        member order.Reaches(route: int) : bool =
            let around = order.Around route
            let winner = semantics.Winner(around |> Array.map (fun index -> routes[index]))

            let points =
                space.Representatives conditions[route]
                |> Seq.filter (fun point -> semantics.Holds routes[route] (semantics.Request point))
                |> Seq.cache

            let isWon point =
                match winner (semantics.Request point) with
                | -1 -> false
                | won -> around[won] = route

            let plain = points |> Seq.filter (fun point -> point.Text <> "*")

            if Seq.isEmpty plain then
                points |> Seq.tryHead |> Option.exists isWon
            else
                Seq.exists isWon plain

        member _.Move(route: int, target: CurePlace) =
            order.RemoveAt place[route]

            match target with
            | Before other -> order.Insert(order.IndexOf other, route)
            | After other -> order.Insert(order.IndexOf other + 1, route)

            renumber ()

        /// Moves a route back to the place that it had.
        member _.Restore(route: int, at: int) =
            order.RemoveAt place[route]
            order.Insert(at, route)
            renumber ()

        /// What a move of the route changes: only requests that it takes.
        member order.Difference(route: int, before: int array) : Move<'request> list =
            let after = order.Around route
            let take indexes = indexes |> Array.map (fun index -> routes[index])

            Diff.routes semantics (take before) (take after)
            |> List.choose _.Move
            |> List.map (fun move ->
                { move with
                    Before = before[move.Before]
                    After = after[move.After]
                })

    /// The routes that hide another one.
    let private hiders (reach: Reach<'request>) =
        match reach with
        | Reached _
        | NeverHolds -> []
        | OnlyAsterisk(_, _, earlier)
        | ShadowedBy(earlier, _) -> [ earlier ]
        | CoveredBy taken -> List.map fst taken

    /// The cures of hidden routes; `hidden` says what hides each. A route that can only be reached by hiding another
    /// has none.
    let find
        (semantics: RouteSemantics<'route, 'request>)
        (routes: 'route array)
        (hidden: (int * Reach<'request>) list)
        : IReadOnlyDictionary<int, Cure<'request>> =
        let cures = Dictionary<int, Cure<'request>>()
        let hidden = hidden |> List.sortBy fst |> List.truncate Most

        let hidersOf =
            hidden |> List.map (fun (route, reach) -> route, hiders reach) |> Map.ofList

        let all = List.map fst hidden

        if not all.IsEmpty then
            let order = Order(semantics, routes, routes |> Array.map semantics.Conditions)

            /// For each route, the hidden routes that it alone hides.
            let hiddenBy =
                all
                |> List.choose (fun route ->
                    match hidersOf[route] with
                    | [ hider ] -> Some(hider, route)
                    | _ -> None)
                |> List.groupBy fst
                |> List.map (fun (hider, group) -> hider, List.map snd group)
                |> Map.ofList

            /// Makes the move if it cures the routes and hides no other; otherwise nothing changes.
            let tryMove (moved: int) (target: CurePlace) (cured: int list) : Cure<'request> option =
                let at = order.Place moved
                let around = order.Around moved
                // Other routes either lose requests to the moved one or gain some.
                let reachedBefore = around |> Array.filter order.Reaches
                order.Move(moved, target)

                if List.forall order.Reaches cured && Array.forall order.Reaches reachedBefore then
                    Some
                        {
                            Moved = moved
                            To = target
                            Moves = order.Difference(moved, around)
                        }
                else
                    order.Restore(moved, at)
                    None

            for route in all do
                if not (cures.ContainsKey route) then
                    let hiders = hidersOf[route]

                    // A route that hides several is moved below them; otherwise the hidden route is moved above its
                    // hiders.
                    let together =
                        match hiders with
                        | [ hider ] when order.Place hider < order.Place route ->
                            let group =
                                hiddenBy[hider] |> List.filter (fun other -> not (cures.ContainsKey other))

                            match group with
                            | _ :: _ :: _ ->
                                let last = group |> List.maxBy order.Place
                                tryMove hider (After last) group |> Option.map (fun cure -> group, cure)
                            | _ -> None
                        | _ -> None

                    match together with
                    | Some(group, cure) ->
                        for cured in group do
                            cures[cured] <- cure
                    | None ->
                        // Routes that earlier cures moved up may now hide it too, and the routes above a hider may hide
                        // it together. The shortest move comes first.
                        let above =
                            let all =
                                order.Around route
                                |> Array.filter (fun other -> order.Place other < order.Place route)
                                |> Array.rev

                            let likely, others =
                                all
                                |> Array.partition (fun other -> List.contains other hiders || cures.ContainsKey other)

                            let isFurther other =
                                likely |> Array.exists (fun hider -> order.Place other < order.Place hider)

                            Array.append likely (Array.filter isFurther others) |> Array.truncate MostTries

                        seq {
                            for other in above do
                                tryMove route (Before other) [ route ]

                            match hiders with
                            | [ hider ] -> tryMove hider (After route) [ route ]
                            | _ -> ()
                        }
                        |> Seq.tryPick id
                        |> Option.iter (fun cure -> cures[route] <- cure)

        cures
