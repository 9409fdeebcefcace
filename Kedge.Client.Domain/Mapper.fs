namespace Kedge.Client.Domain

open System
open System.Collections.Generic
open Kedge.Domain

/// What happens to a request for a host.
[<RequireQualifiedAccess>]
type Decision =
    /// It goes to this kedge.
    | Kedge of route: Route * kedge: KedgeAddress
    /// A route matches the host, but the URL that the route builds from the host is not a kedge's.
    | BadMapping of route: Route * reason: string
    /// No route matches the host: it is an IP address, or no rule covers it.
    | Unmapped of isAddress: bool

    /// Whether a route matches the host.
    member decision.IsMapped =
        match decision with
        | Decision.Unmapped _ -> false
        | _ -> true

/// The routes of one protocol. The first route that matches decides.
[<Sealed>]
type private RouteList(protocol: Protocol, routes: Route array) =

    let routes = routes |> Array.filter (fun route -> route.Takes protocol)

    /// The position of the first route with each key, so that direct routes are found without a search.
    let direct =
        let places = Dictionary<string, int>()

        routes
        |> Array.iteri (fun i route ->
            match route.Rule with
            | RouteRule.Direct(key, _) -> places.TryAdd(key, i) |> ignore
            | _ -> ())

        places

    let others =
        routes
        |> Array.indexed
        |> Array.filter (fun (_, route) ->
            match route.Rule with
            | RouteRule.Direct _ -> false
            | _ -> true)

    let directPlace (key: string) =
        match direct.TryGetValue key with
        | true, place -> place
        | _ -> routes.Length

    member _.Find(target: Target) : Route option =
        let first = min (directPlace target.Host) (directPlace target.Authority)

        match
            others
            |> Array.tryFind (fun (place, route) -> place > first || route.Matches target)
        with
        | Some(place, route) when place < first -> Some route
        | _ when first < routes.Length -> Some routes[first]
        | _ -> None

/// Which kedge a host is reached through. One function decides for requests, for the PAC and for `explain`.
[<Sealed>]
type Mapper internal (routes: Route array, unmapped: Decoded.UnmappedPolicy) =

    let lists: PerProtocol<RouteList> =
        {
            Http = RouteList(Protocol.Http, routes)
            Grpc = RouteList(Protocol.Grpc, routes)
        }

    /// In the file's order.
    member _.Routes: IReadOnlyList<Route> = routes

    /// Whether requests for hosts that no route matches are rejected instead of sent to the host itself.
    member _.RefusesUnmapped = unmapped = Decoded.UnmappedPolicy.Refuse

    member _.Decide(protocol: Protocol, target: Target) : Decision =
        if target.IsAddress then
            Decision.Unmapped true
        else
            match lists[protocol].Find target with
            | None -> Decision.Unmapped false
            | Some route ->
                match route.KedgeFor target with
                | Ok kedge -> Decision.Kedge(route, kedge)
                | Error reason -> Decision.BadMapping(route, reason)
