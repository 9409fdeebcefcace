namespace Kedge.Domain

open System
open System.Collections.Generic

/// How the lists of routes differ. Indexes are those of the old and of the new array.
type RouteChange =
    | Added of after: int
    | Removed of before: int
    /// The same conditions with another outcome, or the same action and host under other conditions.
    | Changed of before: int * after: int
    /// Both routes are in both tables; their order decides for some request.
    | Reordered of before: int * after: int

/// A request that goes elsewhere. `Before` and `After` are the first routes that take it, -1 when none does. Their
/// outcomes differ.
type Move<'request> =
    {
        Request: 'request
        Before: int
        After: int
    }

type RouteDifference<'request> =
    {
        Change: RouteChange
        /// None when the change does not make any request go elsewhere.
        Move: Move<'request> option
    }

/// What a change of a table moves. A route that was added, removed or changed is listed even when no request goes
/// elsewhere; a new order that moves nothing is not a difference.
///
/// Exact in both directions. Let q go to r before and to s after (or to none). The representative q' of the conditions
/// of r and s together (`RequestSpace`, over both tables) satisfies both, and whatever takes q' takes q. As r is the
/// first of the old table that takes q, it is the first that takes q', and so is s in the new table. So it is enough to
/// look at the representatives of each pair of routes, and of each single route for "none".
[<RequireQualifiedAccess>]
module Diff =

    /// Numbers values: equal ones (conditions, outcomes) in both tables have the same number.
    let private number (values: 'value array) (known: Dictionary<'value, int>) =
        values
        |> Array.map (fun value ->
            match known.TryGetValue value with
            | true, id -> id
            | _ ->
                known[value] <- known.Count
                known.Count - 1)

    [<Literal>]
    let private Nowhere = Int32.MaxValue

    /// For each element of `ids`, where its number first occurs in `others`.
    let private firstPlace (ids: int array) (others: int array) =
        let places = Dictionary<int, int>()
        others |> Array.iteri (fun place id -> places.TryAdd(id, place) |> ignore)

        ids
        |> Array.map (fun id ->
            match places.TryGetValue id with
            | true, place -> place
            | _ -> Nowhere)

    /// A table with its routes' conditions, outcomes and marks as numbers.
    type private Side<'route, 'request> =
        {
            Routes: 'route array
            Conditions: RequestConditions array
            ConditionIds: int array
            OutcomeIds: int array
            MarkIds: int array
            Winner: 'request -> int
        }

        member side.OutcomeOf winner = if winner < 0 then -1 else side.OutcomeIds[winner]

    let private sides (semantics: RouteSemantics<'route, 'request>) (before: 'route array) (after: 'route array) =
        let conditionIds = Dictionary<RequestConditions, int>()
        let outcomeIds = Dictionary<Outcome, int>()
        let markIds = Dictionary<RouteMarks, int>()

        let side routes =
            let conditions = routes |> Array.map semantics.Conditions

            {
                Routes = routes
                Conditions = conditions
                ConditionIds = number conditions conditionIds
                OutcomeIds = number (routes |> Array.map semantics.Outcome) outcomeIds
                MarkIds = number (routes |> Array.map semantics.Marks) markIds
                Winner = semantics.Winner routes
            }

        side before, side after

    /// Pairs off routes of the same name and routes that are the same in both tables; the remaining ones were added,
    /// removed or changed.
    let private changes (semantics: RouteSemantics<_, _>) (before: Side<_, _>) (after: Side<_, _>) =
        let pairOff (keyBefore: int -> 'key) (keyAfter: int -> 'key) (oldIndexes: int list) (newIndexes: int list) =
            let pending = Dictionary<'key, Queue<int>>()

            for old in oldIndexes do
                let key = keyBefore old

                if not (pending.ContainsKey key) then
                    pending[key] <- Queue<int>()

                pending[key].Enqueue old

            let pairs =
                [
                    for current in newIndexes do
                        match pending.TryGetValue(keyAfter current) with
                        | true, queue when queue.Count > 0 -> struct (queue.Dequeue(), current)
                        | _ -> ()
                ]

            let pairedOld = HashSet<int>(pairs |> Seq.map (fun (struct (old, _)) -> old))

            let pairedNew =
                HashSet<int>(pairs |> Seq.map (fun (struct (_, current)) -> current))

            pairs,
            oldIndexes |> List.filter (fun old -> not (pairedOld.Contains old)),
            newIndexes |> List.filter (fun current -> not (pairedNew.Contains current))

        let nameOf route = (semantics.Marks route).Name
        let action route = (semantics.Outcome route).Action

        let whole (side: Side<_, _>) route =
            struct (side.ConditionIds[route], side.OutcomeIds[route], side.MarkIds[route])

        let conditions (side: Side<_, _>) route = side.ConditionIds[route]

        let place (side: Side<_, _>) route = struct (action side.Routes[route], side.Conditions[route].Host)

        let isNamed (side: Side<_, _>) route = nameOf side.Routes[route] <> ""
        let name (side: Side<_, _>) route : string = nameOf side.Routes[route]

        let named, unnamed =
            List.partition (isNamed before) [ 0 .. before.Routes.Length - 1 ]

        let namedNow, unnamedNow =
            List.partition (isNamed after) [ 0 .. after.Routes.Length - 1 ]

        let sameName, named, namedNow = pairOff (name before) (name after) named namedNow

        let _, oldIndexes, newIndexes =
            pairOff (whole before) (whole after) (List.sort (named @ unnamed)) (List.sort (namedNow @ unnamedNow))

        let sameConditions, oldIndexes, newIndexes =
            pairOff (conditions before) (conditions after) oldIndexes newIndexes

        let samePlace, oldIndexes, newIndexes =
            pairOff (place before) (place after) oldIndexes newIndexes

        [
            for struct (old, current) in sameName do
                if whole before old <> whole after current then
                    Changed(old, current)

            for struct (old, current) in sameConditions @ samePlace do
                Changed(old, current)

            yield! List.map Removed oldIndexes
            yield! List.map Added newIndexes
        ]

    /// Records requests that go elsewhere: for each pair of routes with different outcomes between which some request
    /// moves, at least one, unless `isKnown` excludes the pair. This includes pairs with "none".
    let private eachMove
        (semantics: RouteSemantics<'route, 'request>)
        (before: Side<_, 'request>)
        (after: Side<_, 'request>)
        (isKnown: int -> int -> bool)
        (record: int -> int -> 'request -> unit)
        =
        let space =
            RouteSemantics.space semantics (Seq.append before.Conditions after.Conditions)

        let tryRequest (request: 'request) =
            let old = before.Winner request
            let current = after.Winner request

            if before.OutcomeOf old <> after.OutcomeOf current then
                record old current request

        let tryConditions conditions =
            for point in space.Representatives conditions do
                tryRequest (semantics.Request point)

        before.Conditions |> Array.iter tryConditions
        after.Conditions |> Array.iter tryConditions

        // Pairs. A request of both r and s cannot go to s when a route with r's conditions precedes s in the new table,
        // nor to r when a route with s's conditions precedes r in the old table. In tables that are nearly the same,
        // this leaves few pairs.
        let twinAfter = firstPlace before.ConditionIds after.ConditionIds
        let twinBefore = firstPlace after.ConditionIds before.ConditionIds

        let tryPair old current =
            if
                twinAfter[old] > current
                && twinBefore[current] > old
                && before.OutcomeIds[old] <> after.OutcomeIds[current]
                && not (isKnown old current)
            then
                match RequestConditions.meet before.Conditions[old] after.Conditions[current] with
                | Some both -> tryConditions both
                | None -> ()

        let byHost (side: Side<_, _>) =
            let routes = Dictionary<HostMatcher, int array>()

            for host, indexes in
                Seq.init side.Routes.Length id
                |> Seq.groupBy (fun route -> side.Conditions[route].Host) do
                routes[host] <- Seq.toArray indexes

            routes

        let oldByHost = byHost before
        let newByHost = byHost after

        let lookUp (routes: Dictionary<HostMatcher, int array>) host =
            match routes.TryGetValue host with
            | true, indexes -> indexes
            | _ -> [||]

        let tryAll (oldIndexes: int array) (newIndexes: int array) =
            for old in oldIndexes do
                let mutable at = 0

                // The indexes are ascending, and from r's twin onwards no route can win.
                while at < newIndexes.Length && newIndexes[at] < twinAfter[old] do
                    tryPair old newIndexes[at]
                    at <- at + 1

        // Two routes share a request only when their hosts are the same, or one host covers the other.
        for host in Seq.distinct (Seq.append oldByHost.Keys newByHost.Keys) do
            tryAll (lookUp oldByHost host) (lookUp newByHost host)

            if host <> AnyHost then
                for wide in AnyHost :: host.Wildcards do
                    tryAll (lookUp oldByHost host) (lookUp newByHost wide)
                    tryAll (lookUp oldByHost wide) (lookUp newByHost host)

    /// Requests that go elsewhere: at least one for each route that loses requests and one for each that gains
    /// requests.
    let private moves
        (semantics: RouteSemantics<'route, 'request>)
        (before: Side<_, 'request>)
        (after: Side<_, 'request>)
        =
        let found = List<Move<'request>>()
        let loses = Array.zeroCreate<bool> before.Routes.Length
        let gains = Array.zeroCreate<bool> after.Routes.Length

        let record old current request =
            let isNew = (old >= 0 && not loses[old]) || (current >= 0 && not gains[current])

            if old >= 0 then
                loses[old] <- true

            if current >= 0 then
                gains[current] <- true

            if isNew then
                found.Add
                    {
                        Request = request
                        Before = old
                        After = current
                    }

        eachMove semantics before after (fun old current -> loses[old] && gains[current]) record
        found

    /// For each pair of demands such that some request was subject to the first and is now subject to the second, one
    /// such request with its routes. Requests that no route took, or that none takes now, are not compared: no caller
    /// was, or is, admitted.
    let demands (semantics: RouteSemantics<'route, 'request>) (before: 'route array) (after: 'route array) =
        let onlyDemands =
            { semantics with
                Outcome =
                    fun route ->
                        { Outcome.ToBackend "any" with
                            Demands = (semantics.Outcome route).Demands
                            Issuers = (semantics.Outcome route).Issuers
                        }
            }

        let before, after = sides onlyDemands before after
        let found = Dictionary<struct (int * int), Move<'request>>()

        let record old current request =
            if old >= 0 && current >= 0 then
                found.TryAdd(
                    struct (before.OutcomeIds[old], after.OutcomeIds[current]),
                    {
                        Request = request
                        Before = old
                        After = current
                    }
                )
                |> ignore

        let isKnown old current = found.ContainsKey(struct (before.OutcomeIds[old], after.OutcomeIds[current]))

        if before.OutcomeIds |> Seq.append after.OutcomeIds |> Seq.distinct |> Seq.length > 1 then
            eachMove onlyDemands before after isKnown record

        List.ofSeq found.Values

    /// How two tables differ; empty when every request has the same outcome and no route was added, removed or changed.
    let routes (semantics: RouteSemantics<'route, 'request>) (before: 'route array) (after: 'route array) =
        let before, after = sides semantics before after
        let moves = moves semantics before after
        let losing = Dictionary<int, Move<'request>>()
        let gaining = Dictionary<int, Move<'request>>()

        for move in moves do
            losing.TryAdd(move.Before, move) |> ignore
            gaining.TryAdd(move.After, move) |> ignore

        let moveOf (moves: Dictionary<int, Move<'request>>) route =
            match moves.TryGetValue route with
            | true, move -> Some move
            | _ -> None

        let changes = changes semantics before after

        let touchedBefore =
            HashSet<int>(
                changes
                |> Seq.choose (fun change ->
                    match change with
                    | Removed old
                    | Changed(old, _) -> Some old
                    | _ -> None)
            )

        let touchedAfter =
            HashSet<int>(
                changes
                |> Seq.choose (fun change ->
                    match change with
                    | Added current
                    | Changed(_, current) -> Some current
                    | _ -> None)
            )

        [
            for change in changes do
                let move =
                    match change with
                    | Added current -> moveOf gaining current
                    | Removed old -> moveOf losing old
                    | Changed(old, current)
                    | Reordered(old, current) -> moveOf gaining current |> Option.orElse (moveOf losing old)

                { Change = change; Move = move }

            for move in moves do
                if not (touchedBefore.Contains move.Before || touchedAfter.Contains move.After) then
                    {
                        Change = Reordered(move.Before, move.After)
                        Move = Some move
                    }
        ]
