namespace Kedge.Domain

open System
open System.Collections.Generic
open System.Runtime.CompilerServices

/// The conditions to check of a route that an index has found by host, port and text.
[<Struct; NoComparison; NoEquality>]
type internal Conditions =
    {
        Mode: Decoded.ProxyMode
        Listener: Decoded.Listener
        Methods: string array
        Query: QueryMatcher array
        Headers: HeaderMatcher array
    }

/// The parts of a request that an index looks at, except its host and headers.
[<Struct; IsByRefLike; NoComparison; NoEquality>]
type internal RequestParts =
    {
        Ports: AuthorityPorts
        /// What routes are indexed by: the path, or the gRPC service.
        Text: ReadOnlySpan<char>
        /// Of gRPC only: the full method.
        SecondText: ReadOnlySpan<char>
        Method: ReadOnlySpan<char>
        Query: ReadOnlySpan<char>
        Mode: Decoded.ProxyMode
        Listener: Decoded.Listener
    }

/// What a route requires of the text that it is indexed by: a request's path, or a call's service or full method.
[<NoComparison>]
type internal TextRule =
    | AnyText
    | Exact of text: string
    | Prefix of prefix: string
    /// For the second text, of gRPC only: the full method.
    | SecondExact of secondText: string
    | SecondPrefix of secondPrefix: string

/// A route as the index sees it; its index in the list is its rank.
[<NoComparison; NoEquality>]
type internal IndexedRoute =
    {
        Host: HostMatcher
        Port: PortMatcher
        /// Alternatives; not empty.
        Rules: TextRule array
        Conditions: Conditions
    }

/// Candidates are ascending ranks of routes. Every search receives the best rank so far and returns that rank or a
/// better one, so it can stop at the first candidate that does not improve on it.
module internal Candidates =

    /// The rank when no route matches: worse than every other.
    [<Literal>]
    let None = Int32.MaxValue

    let private holds<'headers when 'headers: struct and 'headers :> IHeaders>
        (conditions: inref<Conditions>)
        (request: inref<RequestParts>)
        (headers: inref<'headers>)
        : bool =
        let mutable holds =
            ModeMatcher.holds conditions.Mode request.Mode
            && ListenerMatcher.holds conditions.Listener request.Listener
            && MethodMatcher.holds conditions.Methods request.Method

        let mutable next = 0

        while holds && next < conditions.Headers.Length do
            holds <- conditions.Headers[next].Holds &headers
            next <- next + 1

        next <- 0

        while holds && next < conditions.Query.Length do
            holds <- conditions.Query[next].Holds request.Query
            next <- next + 1

        holds

    let first<'headers when 'headers: struct and 'headers :> IHeaders>
        (conditions: Conditions array)
        (candidates: int array)
        (request: inref<RequestParts>)
        (headers: inref<'headers>)
        (best: int)
        : int =
        let mutable best = best
        let mutable at = 0

        while at < candidates.Length && candidates[at] < best do
            let rank = candidates[at]

            if holds &conditions[rank] &request &headers then
                best <- rank

            at <- at + 1

        best

/// Routes by a text that they require as a whole or as a prefix.
[<Sealed>]
type internal TextIndex(exact: TextMap<int array>, prefixes: TextMap<int array>, prefixLengths: int array) =

    /// `text` is one of the request's texts. `prefixLengths` are distinct and ascending. The hash of each prefix
    /// continues the hash of the previous prefix.
    member _.Search<'headers when 'headers: struct and 'headers :> IHeaders>
        (
            text: ReadOnlySpan<char>,
            conditions: Conditions array,
            request: inref<RequestParts>,
            headers: inref<'headers>,
            best: int
        ) : int =
        let mutable best = best
        let mutable state = 0UL
        let mutable taken = 0
        let mutable at = 0

        while at < prefixLengths.Length && prefixLengths[at] <= text.Length do
            let length = prefixLengths[at]
            let blocks = TextHash.blocks length
            state <- TextHash.advance false text taken blocks state
            taken <- blocks

            match prefixes.Find(text.Slice(0, length), TextHash.finish false text length state) with
            | null -> ()
            | candidates -> best <- Candidates.first conditions candidates &request &headers best

            at <- at + 1

        if exact.Count > 0 then
            state <- TextHash.advance false text taken (TextHash.blocks text.Length) state

            match exact.Find(text, TextHash.finish false text text.Length state) with
            | null -> ()
            | candidates -> best <- Candidates.first conditions candidates &request &headers best

        best

/// Routes of one host and port.
[<Sealed>]
type internal RuleIndex(lowest: int, anyText: int array, first: TextIndex | null, second: TextIndex | null) =

    member _.Search<'headers when 'headers: struct and 'headers :> IHeaders>
        (conditions: Conditions array, request: inref<RequestParts>, headers: inref<'headers>, best: int)
        : int =
        if lowest >= best then
            best
        else
            let mutable best = Candidates.first conditions anyText &request &headers best

            match first with
            | null -> ()
            | index -> best <- index.Search(request.Text, conditions, &request, &headers, best)

            match second with
            | null -> ()
            | index -> best <- index.Search(request.SecondText, conditions, &request, &headers, best)

            best

/// Routes of one host, or routes without a host. `ports` is ascending and `byPort` parallel to it.
[<Sealed>]
type internal PortIndex(ports: uint16 array, byPort: RuleIndex array, anyPort: RuleIndex | null) =

    member private _.Of(port: uint16) : RuleIndex | null =
        let at = Array.BinarySearch(ports, port)
        if at < 0 then null else byPort[at]

    member index.Search<'headers when 'headers: struct and 'headers :> IHeaders>
        (conditions: Conditions array, request: inref<RequestParts>, headers: inref<'headers>, best: int)
        : int =
        let mutable best = best

        if ports.Length > 0 then
            match index.Of request.Ports.First with
            | null -> ()
            | rules -> best <- rules.Search(conditions, &request, &headers, best)

            if request.Ports.Second <> request.Ports.First then
                match index.Of request.Ports.Second with
                | null -> ()
                | rules -> best <- rules.Search(conditions, &request, &headers, best)

        match anyPort with
        | null -> best
        | rules -> rules.Search(conditions, &request, &headers, best)

/// The routes for wildcard hosts, by the name after the `*.`. A host is looked up by what follows each of its dots;
/// only texts as long as one of the names are hashed, so that most dots cost nothing.
[<Sealed>]
type internal WildcardIndex(names: TextMap<PortIndex>, lengths: int array) =

    let isLength: bool array =
        let isLength = Array.zeroCreate (Array.max lengths + 1)

        for length in lengths do
            isLength[length] <- true

        isLength

    member _.Search<'headers when 'headers: struct and 'headers :> IHeaders>
        (
            host: ReadOnlySpan<char>,
            conditions: Conditions array,
            request: inref<RequestParts>,
            headers: inref<'headers>,
            best: int
        ) : int =
        let mutable best = best
        // At least one character must come before the dot.
        let mutable dot = 0
        let mutable searching = host.Length > 1

        while searching do
            match host.Slice(dot + 1).IndexOf '.' with
            | -1 -> searching <- false
            | next ->
                dot <- dot + 1 + next
                let length = host.Length - dot - 1

                if length < isLength.Length && isLength[length] then
                    match names.Find(host.Slice(dot + 1)) with
                    | null -> ()
                    | index -> best <- index.Search(conditions, &request, &headers, best)

        best

/// A list of routes, indexed by host, then port, then text. The routes that can match a request are in few port indexes
/// (for its host, for the wildcards that match it, and for any host), in at most three rule indexes of each (for its
/// one or two ports, and for any port), and there among the routes without a text, with this text, and with one of its
/// prefixes.
[<Sealed>]
type internal RouteIndex
    private
    (hosts: TextMap<PortIndex>, wildcards: WildcardIndex | null, anyHost: PortIndex | null, conditions: Conditions array)
    =

    static let textMap ignoreCase (groups: (string * 'value) array) =
        TextMap(ignoreCase, groups |> Array.map KeyValuePair)

    /// The ranks, grouped by the text that `choose` finds in the rules.
    static let byText (rules: (int * TextRule) array) (choose: TextRule -> string voption) =
        rules
        |> Array.choose (fun (rank, rule) ->
            match choose rule with
            | ValueSome text -> Some(text, rank)
            | ValueNone -> None)
        |> Array.groupBy fst
        |> Array.map (fun (text, group) -> text, group |> Array.map snd |> Array.distinct |> Array.sort)

    static let textIndex rules exactText prefixText : TextIndex | null =
        let exact = byText rules exactText
        let prefixes = byText rules prefixText

        if exact.Length = 0 && prefixes.Length = 0 then
            null
        else
            let lengths =
                prefixes
                |> Array.map (fun (prefix, _) -> prefix.Length)
                |> Array.distinct
                |> Array.sort

            TextIndex(textMap false exact, textMap false prefixes, lengths)

    /// Most routes require no text. Tables of tens of thousands consist of such routes and must be built fast.
    static let requiresNoText (route: IndexedRoute) = route.Rules.Length = 1 && route.Rules[0].IsAnyText

    static let ruleIndex (routes: (int * IndexedRoute) array) : RuleIndex =
        let rules =
            routes
            |> Array.collect (fun (rank, route) -> route.Rules |> Array.map (fun rule -> rank, rule))

        let anyText =
            rules
            |> Array.choose (fun (rank, rule) -> if rule.IsAnyText then Some rank else None)
            |> Array.distinct
            |> Array.sort

        let first =
            textIndex
                rules
                (function
                | Exact text -> ValueSome text
                | _ -> ValueNone)
                (function
                 | Prefix prefix -> ValueSome prefix
                 | _ -> ValueNone)

        let second =
            textIndex
                rules
                (function
                | SecondExact text -> ValueSome text
                | _ -> ValueNone)
                (function
                 | SecondPrefix prefix -> ValueSome prefix
                 | _ -> ValueNone)

        RuleIndex(routes |> Array.map fst |> Array.min, anyText, first, second)

    static let portIndexOf (routes: (int * IndexedRoute) array) : PortIndex =
        let exact, any =
            routes |> Array.partition (fun (_, route) -> route.Port.IsExactPort)

        let byPort =
            exact
            |> Array.groupBy (fun (_, route) ->
                match route.Port with
                | ExactPort port -> port
                | AnyPort -> 0us)
            |> Array.sortBy fst
            |> Array.map (fun (port, group) -> port, ruleIndex group)

        let anyPort: RuleIndex | null = if any.Length = 0 then null else ruleIndex any
        PortIndex(Array.map fst byPort, Array.map snd byPort, anyPort)

    static let portIndex (routes: (int * IndexedRoute) array) : PortIndex =
        match routes with
        | [| rank, route |] when requiresNoText route ->
            let rules = RuleIndex(rank, [| rank |], null, null)

            match route.Port with
            | ExactPort port -> PortIndex([| port |], [| rules |], null)
            | AnyPort -> PortIndex([||], [||], rules)
        | _ -> portIndexOf routes

    static member Build(routes: IndexedRoute array) : RouteIndex =
        let ranked = Array.indexed routes

        let byName (nameOf: HostMatcher -> string voption) =
            ranked
            |> Array.choose (fun (rank, route) ->
                match nameOf route.Host with
                | ValueSome name -> Some(name.ToLowerInvariant(), (rank, route))
                | ValueNone -> None)
            |> Array.groupBy fst
            |> Array.map (fun (name, group) -> name, portIndex (Array.map snd group))

        let hosts =
            byName (function
                | ExactHost host -> ValueSome host
                | _ -> ValueNone)

        let wildcards =
            byName (function
                | HostBelow parent -> ValueSome parent
                | _ -> ValueNone)

        let wildcardIndex: WildcardIndex | null =
            if wildcards.Length = 0 then
                null
            else
                let lengths = wildcards |> Array.map (fun (name, _) -> name.Length)
                WildcardIndex(textMap true wildcards, lengths)

        let any = ranked |> Array.filter (fun (_, route) -> route.Host.IsAnyHost)
        let anyHost: PortIndex | null = if any.Length = 0 then null else portIndex any
        RouteIndex(textMap true hosts, wildcardIndex, anyHost, routes |> Array.map _.Conditions)

    /// The lowest rank of a route that matches the request, or -1. `host` has no trailing dot.
    member _.Match<'headers when 'headers: struct and 'headers :> IHeaders>
        (host: ReadOnlySpan<char>, request: inref<RequestParts>, headers: inref<'headers>)
        : int =
        let mutable best = Candidates.None

        match hosts.Find host with
        | null -> ()
        | index -> best <- index.Search(conditions, &request, &headers, best)

        match wildcards with
        | null -> ()
        | index -> best <- index.Search(host, conditions, &request, &headers, best)

        match anyHost with
        | null -> ()
        | index -> best <- index.Search(conditions, &request, &headers, best)

        if best = Candidates.None then -1 else best
