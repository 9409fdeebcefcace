namespace Kedge.Domain

open System
open System.Collections.Generic

/// Which requests reach a route.
type Reach<'request> =
    /// This request reaches it.
    | Reached of witness: 'request
    /// Only `OPTIONS *` does; `taken` would if the earlier route did not exist.
    | OnlyAsterisk of witness: 'request * taken: 'request * earlier: int
    /// An earlier route, the first of its kind, takes every request that this one would take. `taken` is one of them.
    | ShadowedBy of earlier: int * taken: 'request
    /// Only several earlier routes together take every request. `taken` contains a request for each of them.
    | CoveredBy of taken: (int * 'request) list
    /// No request meets the conditions.
    | NeverHolds

/// Something about a route that its author should know. Indexes are those of the analysed array.
type RouteFinding<'request> =
    /// The conditions are the same as those of an earlier route.
    | Duplicate of route: int * first: int * taken: 'request
    /// See `Reach`; `shadow` is never `Reached` or `NeverHolds`.
    | Hidden of route: int * shadow: Reach<'request>
    | NeverMatches of route: int
    /// No canonical path satisfies this one of several path rules.
    | NeverMatchingPath of route: int * rule: int
    /// A rule such as `/api/*` does not take `/api`, and neither does another rule of the route. `taken` is a request
    /// for that path that meets the other conditions; `winner` is the route that takes it, if any.
    | PrefixMissesRoot of route: int * rule: int * taken: 'request * winner: int voption
    /// An earlier route for a wildcard host takes a request of a route for one of its hosts, or for a narrower
    /// wildcard. The two have different outcomes.
    | WildcardFirst of route: int * earlier: int * taken: 'request
    /// The route's rewrite leaves each of its paths unchanged. The witness, if any, reaches it.
    | RewriteWithoutEffect of route: int * witness: 'request voption
    /// Two requests with different paths, the second of which the earlier route takes, get the same path on the same
    /// backend and host.
    | SamePath of route: int * earlier: int * taken: 'request * takenEarlier: 'request
    /// The pool has no backend of this name; the witness, if any, reaches the route.
    | DanglingBackend of route: int * backend: string * witness: 'request voption
    /// gRPC: the shorter prefix of the earlier route takes calls that the longer prefix of the later route also names.
    /// The two routes differ in another condition.
    | PrefixOverlap of route: int * earlier: int * taken: 'request

/// What is wrong with a table, or likely to surprise. Each finding has a request that shows it, and the results are
/// exact in both directions: see `RequestSpace`.
[<RequireQualifiedAccess>]
module Analysis =

    let private space (semantics: RouteSemantics<'route, 'request>) (routes: 'route array) =
        let conditions = routes |> Array.map semantics.Conditions
        conditions, RouteSemantics.space semantics conditions

    /// An earlier route that takes all of the requests. Tries the few routes that win some of them before the other
    /// routes.
    let private single
        (semantics: RouteSemantics<_, _>)
        (routes: _ array)
        route
        (winners: int list)
        (requests: 'request list)
        =
        let takesAll index = requests |> List.forall (semantics.Holds routes[index])

        match winners |> List.distinct |> List.filter takesAll with
        | [] -> Seq.init route id |> Seq.tryFind takesAll
        | found -> Some(List.min found)

    let private reachOf (semantics: RouteSemantics<_, _>) (routes: _ array) winner route (points: Point seq) =
        // The reference router checks each representative, so that a mistake in the choice of representatives can never
        // invent a witness.
        let requests =
            points
            |> Seq.map (fun point -> struct (point, semantics.Request point))
            |> Seq.filter (fun (struct (_, request)) -> semantics.Holds routes[route] request)

        let mutable taken = []
        let mutable reached = ValueNone
        use each = requests.GetEnumerator()

        while reached.IsNone && each.MoveNext() do
            let struct (point, request) = each.Current

            match winner request with
            | index when index = route -> reached <- ValueSome struct (point, request)
            | index -> taken <- (index, request) :: taken

        let taken = List.rev taken

        match reached, taken with
        | ValueSome(struct (point, witness)), _ when point.Text <> "*" -> Reached witness
        | ValueSome(struct (_, witness)), [] -> Reached witness
        | ValueSome(struct (_, witness)), (earlier, request) :: _ -> OnlyAsterisk(witness, request, earlier)
        | ValueNone, [] -> NeverHolds
        | ValueNone, (_, first) :: _ ->
            match single semantics routes route (List.map fst taken) (List.map snd taken) with
            | Some earlier -> ShadowedBy(earlier, first)
            | None -> CoveredBy(List.distinctBy fst taken)

    // `OPTIONS *` comes last, so that it is a route's witness only when no other request reaches the route.
    let private ordered (points: Point seq) =
        Seq.append (points |> Seq.filter (fun p -> p.Text <> "*")) (points |> Seq.filter (fun p -> p.Text = "*"))

    /// For each route, which requests reach it.
    let reach (semantics: RouteSemantics<'route, 'request>) (routes: 'route array) : Reach<'request> array =
        let conditions, space = space semantics routes
        let winner = semantics.Winner routes

        routes
        |> Array.mapi (fun route _ ->
            reachOf semantics routes winner route (ordered (space.Representatives conditions[route])))

    let private hidden (conditions: RequestConditions array) (reach: Reach<'request> array) =
        let first = Dictionary<RequestConditions, int>()

        [
            for route in 0 .. conditions.Length - 1 do
                let isFirst = first.TryAdd(conditions[route], route)

                match reach[route] with
                | Reached _ -> ()
                | NeverHolds -> NeverMatches route
                | ShadowedBy(_, taken) when not isFirst -> Duplicate(route, first[conditions[route]], taken)
                | shadow -> Hidden(route, shadow)
        ]

    let private dangling (semantics: RouteSemantics<_, _>) (routes: _ array) backends (reach: Reach<'request> array) =
        let known = HashSet<string>(backends: string seq)

        [
            for route in 0 .. routes.Length - 1 do
                for backend in semantics.NamedBackends routes[route] do
                    if not (known.Contains backend) then
                        let witness =
                            match reach[route] with
                            | Reached witness
                            | OnlyAsterisk(witness, _, _) -> ValueSome witness
                            | _ -> ValueNone

                        DanglingBackend(route, backend, witness)
        ]

    /// For routes that a request reaches: the first earlier route for a wildcard above the route's host that takes some
    /// of its requests.
    let private wildcardsFirst
        (semantics: RouteSemantics<'route, 'request>)
        (routes: 'route array)
        (conditions: RequestConditions array)
        (space: RequestSpace)
        (reach: Reach<'request> array)
        =
        let winner = semantics.Winner routes
        let byWildcard = Dictionary<HostMatcher, List<int>>()

        let takenBy route other =
            RequestConditions.meet conditions[route] conditions[other]
            |> Option.bind (fun both ->
                space.Representatives both
                |> Seq.map semantics.Request
                |> Seq.tryFind (fun request -> winner request = other))

        [
            for route in 0 .. routes.Length - 1 do
                let host = conditions[route].Host

                if byWildcard.Count > 0 && reach[route].IsReached then
                    let earlier =
                        seq {
                            for wildcard in host.Wildcards do
                                match byWildcard.TryGetValue wildcard with
                                | true, routes -> yield! routes
                                | _ -> ()
                        }

                    yield!
                        earlier
                        |> Seq.filter (fun other -> semantics.Outcome routes[other] <> semantics.Outcome routes[route])
                        |> Seq.tryPick (fun other ->
                            takenBy route other
                            |> Option.map (fun taken -> WildcardFirst(route, other, taken)))
                        |> Option.toList

                if host.IsHostBelow then
                    match byWildcard.TryGetValue host with
                    | true, list -> list.Add route
                    | _ -> byWildcard[host] <- List [ route ]
        ]

    /// Prefixes such as `/api/*` in routes that a request reaches, where `/api` itself has another outcome.
    let private missedRoots
        (routes: HttpRoute array)
        (conditions: RequestConditions array)
        (space: RequestSpace)
        (reach: Reach<HttpRequest> array)
        =
        let winner = RouteSemantics.http.Winner routes

        let missed route rule (root: string) =
            let atRoot =
                { conditions[route] with
                    Texts = [ Exactly root ]
                }

            space.Representatives atRoot
            |> Seq.map RouteSemantics.http.Request
            |> Seq.tryPick (fun request ->
                match winner request with
                | -1 -> Some(PrefixMissesRoot(route, rule, request, ValueNone))
                | other when routes[other].Outcome <> routes[route].Outcome ->
                    Some(PrefixMissesRoot(route, rule, request, ValueSome other))
                | _ -> None)

        [
            for route in 0 .. routes.Length - 1 do
                let rules = routes[route].Paths

                if reach[route].IsReached then
                    for rule in 0 .. rules.Length - 1 do
                        match rules[rule] with
                        | PathPrefix prefix when prefix.Length > 1 && prefix.EndsWith '/' ->
                            let root = prefix.Substring(0, prefix.Length - 1)

                            if not (rules |> Array.exists (fun rule -> rule.Holds(root.AsSpan()))) then
                                yield! Option.toList (missed route rule root)
                        | _ -> ()
        ]

    let private withoutEffect (routes: HttpRoute array) (reach: Reach<HttpRequest> array) =
        [
            for route in 0 .. routes.Length - 1 do
                match routes[route].Outcome.Filters.Path with
                | Some rewrite when rewrite.HasNoEffectOn routes[route].Paths ->
                    match reach[route] with
                    | Reached witness
                    | OnlyAsterisk(witness, _, _) -> RewriteWithoutEffect(route, ValueSome witness)
                    | _ -> RewriteWithoutEffect(route, ValueNone)
                | _ -> ()
        ]

    /// Findings about HTTP routes, given the names of the pool's HTTP backends.
    let http (backends: string seq) (routes: HttpRoute array) : RouteFinding<HttpRequest> list =
        let conditions, space = space RouteSemantics.http routes
        let reach = reach RouteSemantics.http routes

        let deadPaths =
            [
                for route in 0 .. routes.Length - 1 do
                    let rules = routes[route].Paths

                    for rule in 0 .. rules.Length - 1 do
                        let text =
                            match rules[rule] with
                            | ExactPath path
                            | PathTree path -> Exactly path
                            | PathPrefix prefix -> StartingWith prefix

                        if rules.Length > 1 && (space.Texts.Representatives text).IsEmpty then
                            NeverMatchingPath(route, rule)
            ]

        hidden conditions reach
        @ deadPaths
        @ missedRoots routes conditions space reach
        @ withoutEffect routes reach
        @ List.map SamePath (SamePaths.find routes conditions space (fun route -> reach[route].IsReached))
        @ wildcardsFirst RouteSemantics.http routes conditions space reach
        @ dangling RouteSemantics.http routes backends reach

    let private prefixOf (route: GrpcRoute) =
        match route.Service with
        | ServicePrefix prefix
        | MethodPrefix prefix -> ValueSome prefix
        | AnyService
        | ExactService _
        | ExactMethod _ -> ValueNone

    /// For a route with a prefix: the first earlier one with a shorter prefix that takes calls that both match, among
    /// the routes for the same host, for a wildcard that covers it, or for any host. (A route for one host before a
    /// route for any host is a deliberate exception.)
    let private overlaps (routes: GrpcRoute array) (conditions: RequestConditions array) (space: RequestSpace) reach =
        let winner = RouteSemantics.grpc.Winner routes
        let byPrefix = Dictionary<struct (HostMatcher * string), List<int>>()

        let earlier route (prefix: string) =
            seq {
                for host in List.distinct (conditions[route].Host :: conditions[route].Host.Wildcards @ [ AnyHost ]) do
                    for length in 0 .. prefix.Length - 1 do
                        match byPrefix.TryGetValue(struct (host, prefix.Substring(0, length))) with
                        | true, routes -> yield! routes
                        | _ -> ()
            }

        let takenBy route other =
            RequestConditions.meet conditions[route] conditions[other]
            |> Option.bind (fun both ->
                space.Representatives both
                |> Seq.map RouteSemantics.grpc.Request
                |> Seq.tryFind (fun request -> winner request = other))

        [
            for route in 0 .. routes.Length - 1 do
                match prefixOf routes[route], reach route with
                | ValueSome prefix, Reached _ ->
                    let overlap =
                        earlier route prefix
                        |> Seq.filter (fun other -> routes[other].Outcome.Action <> routes[route].Outcome.Action)
                        |> Seq.tryPick (fun other ->
                            takenBy route other
                            |> Option.map (fun taken -> PrefixOverlap(route, other, taken)))

                    yield! Option.toList overlap
                | _ -> ()

                match prefixOf routes[route] with
                | ValueSome prefix ->
                    let key = struct (conditions[route].Host, prefix)

                    if not (byPrefix.ContainsKey key) then
                        byPrefix[key] <- List<int>()

                    byPrefix[key].Add route
                | ValueNone -> ()
        ]

    /// Findings about gRPC routes, given the names of the pool's gRPC backends.
    let grpc (backends: string seq) (routes: GrpcRoute array) : RouteFinding<GrpcRequest> list =
        let conditions, space = space RouteSemantics.grpc routes
        let reach = reach RouteSemantics.grpc routes

        hidden conditions reach
        @ dangling RouteSemantics.grpc routes backends reach
        @ wildcardsFirst RouteSemantics.grpc routes conditions space reach
        @ overlaps routes conditions space (fun route -> reach[route])

    /// The backends that no route names.
    let unusedBackends (semantics: RouteSemantics<'route, 'request>) (routes: 'route array) (backends: string seq) =
        let used = HashSet<string>(routes |> Seq.collect semantics.NamedBackends)
        backends |> Seq.filter (fun name -> not (used.Contains name)) |> Seq.toList
