namespace Kedge.Domain

open System
open System.Collections.Generic

/// How the lists of routes differ. Indexes are places in the old and in the new array.
type RouteChange =
    | Added of after: int
    | Removed of before: int
    /// The same conditions for another backend or caller, or the same backend and host under other conditions.
    | Changed of before: int * after: int
    /// Both routes are in both tables; their order decides for some request.
    | Reordered of before: int * after: int

/// A request that another route decides about now. The winners are the first routes that hold, -1 when none does; they
/// differ in backend or in the demands on the caller.
type Move<'request> =
    {
        Request: 'request
        Before: int
        After: int
    }

type RouteDifference<'request> =
    {
        Change: RouteChange
        /// None when no request goes elsewhere because of it.
        Move: Move<'request> option
    }

/// What a change of a table moves. A difference without a request that goes elsewhere is still listed when a route came,
/// went or changed; a new order that moves nothing is no difference.
///
/// Exact both ways. Let q go to r before and to s after (or to none). The representative q' of the conditions of r and s
/// together (`RequestSpace`, over both tables) satisfies both, and whatever takes q' takes q. As r is the first of the
/// old table that takes q, it is the first that takes q', and so is s in the new table. So it is enough to look at the
/// representatives of each pair of routes, and of each single route for "none".
[<RequireQualifiedAccess>]
module Diff =

    /// Texts that stand for conditions and for outcomes, numbered over both tables.
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

    /// A table with its routes' conditions and outcomes as numbers.
    type private Side<'route, 'request> =
        {
            Routes: 'route array
            Conditions: RequestConditions array
            ConditionIds: int array
            OutcomeIds: int array
            Winner: 'request -> int
        }

        member side.OutcomeOf winner = if winner < 0 then -1 else side.OutcomeIds[winner]

    let private sides (protocol: Protocol<'route, 'request>) (before: 'route array) (after: 'route array) =
        let conditionIds = Dictionary<RequestConditions, int>()
        let outcomeIds = Dictionary<struct (string * Decoded.Authorization option), int>()

        let side routes =
            let conditions = routes |> Array.map protocol.Conditions

            {
                Routes = routes
                Conditions = conditions
                ConditionIds = number conditions conditionIds
                OutcomeIds =
                    number
                        (routes
                         |> Array.map (fun route -> struct (protocol.Backend route, protocol.Authorization route)))
                        outcomeIds
                Winner = protocol.Winner routes
            }

        side before, side after

    /// Routes that are in both tables, outcome and all, are paired off; what is left came, went or changed.
    let private changes (before: Side<_, _>) (after: Side<_, _>) (backend: _ -> string) =
        let pairOff (keyBefore: int -> 'key) (keyAfter: int -> 'key) (olds: int list) (news: int list) =
            let waiting = Dictionary<'key, Queue<int>>()

            for old in olds do
                let key = keyBefore old

                if not (waiting.ContainsKey key) then
                    waiting[key] <- Queue<int>()

                waiting[key].Enqueue old

            let pairs =
                [
                    for fresh in news do
                        match waiting.TryGetValue(keyAfter fresh) with
                        | true, queue when queue.Count > 0 -> struct (queue.Dequeue(), fresh)
                        | _ -> ()
                ]

            let pairedOld = HashSet<int>(pairs |> Seq.map (fun (struct (old, _)) -> old))
            let pairedNew = HashSet<int>(pairs |> Seq.map (fun (struct (_, fresh)) -> fresh))

            pairs,
            olds |> List.filter (fun old -> not (pairedOld.Contains old)),
            news |> List.filter (fun fresh -> not (pairedNew.Contains fresh))

        let whole (side: Side<_, _>) route = struct (side.ConditionIds[route], side.OutcomeIds[route])

        let conditions (side: Side<_, _>) route = side.ConditionIds[route]

        let place (side: Side<_, _>) route = struct (backend side.Routes[route], side.Conditions[route].Host)

        let _, olds, news =
            pairOff (whole before) (whole after) [ 0 .. before.Routes.Length - 1 ] [ 0 .. after.Routes.Length - 1 ]

        let sameConditions, olds, news =
            pairOff (conditions before) (conditions after) olds news

        let samePlace, olds, news = pairOff (place before) (place after) olds news

        [
            for struct (old, fresh) in sameConditions @ samePlace do
                Changed(old, fresh)

            yield! List.map Removed olds
            yield! List.map Added news
        ]

    /// Requests that go elsewhere: at least one for each route that loses any and for each that gains any.
    let private moves (protocol: Protocol<'route, 'request>) (before: Side<_, 'request>) (after: Side<_, 'request>) =
        let space = Protocol.space protocol (Seq.append before.Conditions after.Conditions)

        let found = List<Move<'request>>()
        let loses = Array.zeroCreate<bool> before.Routes.Length
        let gains = Array.zeroCreate<bool> after.Routes.Length

        let tryRequest (request: 'request) =
            let old = before.Winner request
            let fresh = after.Winner request
            let isMove = before.OutcomeOf old <> after.OutcomeOf fresh

            if isMove then
                let isNews = (old >= 0 && not loses[old]) || (fresh >= 0 && not gains[fresh])

                if old >= 0 then
                    loses[old] <- true

                if fresh >= 0 then
                    gains[fresh] <- true

                if isNews then
                    found.Add
                        {
                            Request = request
                            Before = old
                            After = fresh
                        }

        let tryConditions conditions =
            for point in space.Representatives conditions do
                tryRequest (protocol.Request point)

        before.Conditions |> Array.iter tryConditions
        after.Conditions |> Array.iter tryConditions

        // Pairs. A request of both r and s cannot go to s where a route with r's conditions stands before s in the new
        // table, nor to r where one with those of s stands before r in the old: in tables that are nearly the same,
        // that leaves few pairs.
        let twinAfter = firstPlace before.ConditionIds after.ConditionIds
        let twinBefore = firstPlace after.ConditionIds before.ConditionIds

        let tryPair old fresh =
            if
                twinAfter[old] > fresh
                && twinBefore[fresh] > old
                && before.OutcomeIds[old] <> after.OutcomeIds[fresh]
                && not (loses[old] && gains[fresh])
            then
                match RequestConditions.meet before.Conditions[old] after.Conditions[fresh] with
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

        let of' (routes: Dictionary<HostMatcher, int array>) host =
            match routes.TryGetValue host with
            | true, indexes -> indexes
            | _ -> [||]

        let tryAll (olds: int array) (news: int array) =
            for old in olds do
                let mutable at = 0

                // The indexes rise, and from r's twin on nothing can win.
                while at < news.Length && news[at] < twinAfter[old] do
                    tryPair old news[at]
                    at <- at + 1

        for host in Seq.distinct (Seq.append oldByHost.Keys newByHost.Keys) do
            tryAll (of' oldByHost host) (of' newByHost host)

            if host <> AnyHost then
                tryAll (of' oldByHost host) (of' newByHost AnyHost)
                tryAll (of' oldByHost AnyHost) (of' newByHost host)

        found

    /// How two tables differ; empty when every request has the same outcome and no route came, went or changed.
    let routes (protocol: Protocol<'route, 'request>) (before: 'route array) (after: 'route array) =
        let before, after = sides protocol before after
        let moves = moves protocol before after
        let losing = Dictionary<int, Move<'request>>()
        let gaining = Dictionary<int, Move<'request>>()

        for move in moves do
            losing.TryAdd(move.Before, move) |> ignore
            gaining.TryAdd(move.After, move) |> ignore

        let lookUp (moves: Dictionary<int, Move<'request>>) route =
            match moves.TryGetValue route with
            | true, move -> Some move
            | _ -> None

        let changes = changes before after protocol.Backend

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
                    | Added fresh
                    | Changed(_, fresh) -> Some fresh
                    | _ -> None)
            )

        [
            for change in changes do
                let move =
                    match change with
                    | Added fresh -> lookUp gaining fresh
                    | Removed old -> lookUp losing old
                    | Changed(old, fresh)
                    | Reordered(old, fresh) -> lookUp gaining fresh |> Option.orElse (lookUp losing old)

                { Change = change; Move = move }

            for move in moves do
                if not (touchedBefore.Contains move.Before || touchedAfter.Contains move.After) then
                    {
                        Change = Reordered(move.Before, move.After)
                        Move = Some move
                    }
        ]

/// How the backends of one protocol differ, by name.
type BackendChange =
    | BackendAdded of name: string
    | BackendRemoved of name: string
    | BackendChanged of name: string

[<RequireQualifiedAccess>]
module BackendDiff =

    /// A backend is also changed when the TLS settings that it names are.
    let backends
        (protocol: BackendPool -> Decoded.Backend list)
        (before: BackendPool)
        (after: BackendPool)
        : BackendChange list =
        let definitions (pool: BackendPool) =
            let tls = Dictionary<string, Decoded.TlsServerConfig>()

            for config in pool.TlsServerConfigs do
                tls[config.Name] <- config

            let tlsOf (backend: Decoded.Backend) =
                match backend.Security with
                | Some security ->
                    match tls.TryGetValue security.ConfigName with
                    | true, config -> Some config
                    | _ -> None
                | None -> None

            let definitions =
                Dictionary<string, struct (Decoded.Backend * Decoded.TlsServerConfig option)>()

            for backend in protocol pool do
                definitions[backend.Name] <- struct (backend, tlsOf backend)

            definitions

        let old = definitions before
        let fresh = definitions after

        [
            for backend in protocol before do
                match fresh.TryGetValue backend.Name with
                | true, definition when definition = old[backend.Name] -> ()
                | true, _ -> BackendChanged backend.Name
                | _ -> BackendRemoved backend.Name

            for backend in protocol after do
                if not (old.ContainsKey backend.Name) then
                    BackendAdded backend.Name
        ]
