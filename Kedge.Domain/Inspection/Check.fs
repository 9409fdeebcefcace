namespace Kedge.Domain

open System
open System.Collections.Generic

/// One list of rules: where the findings about it are, and how they name its rules.
[<NoEquality; NoComparison>]
type internal CheckedList =
    {
        Protocol: Protocol
        /// `routes` or `adhoc_rules`.
        List: string
        Infos: IReadOnlyList<RouteInfo>
        Source: SourceMap
    }

    static member Routes(configuration: Configuration, protocol: Protocol) : CheckedList =
        {
            Protocol = protocol
            List = "routes"
            Infos = configuration.Routes[protocol]
            Source = configuration.DirectorSource
        }

    static member AdhocRules(configuration: Configuration, protocol: Protocol) : CheckedList =
        {
            Protocol = protocol
            List = "adhoc_rules"
            Infos = configuration.AdhocRules[protocol]
            Source = configuration.DirectorSource
        }

    member private list.Path(index: int) : JsonPath = [ Field list.Protocol.Section; Field list.List; Step.Index index ]

    /// A rule in a message: `$.http.routes[3] (host=a.example)`.
    member list.Name(index: int) = $"{JsonPath.render (list.Path index)} ({list.Infos[index].Title})"

    /// A finding about a part of a rule or, with an empty path, about the rule as a whole.
    member list.Finding
        (
            severity: Severity,
            kind: string,
            index: int,
            part: JsonPath,
            message: string,
            witnesses: string list,
            cure: string,
            differences: Difference list
        ) : Finding =
        let path = list.Path index @ part

        let location =
            if list.Infos[index].Line > 0 then
                list.Source.Locate path
            else
                {
                    File = ""
                    Line = 0
                    Column = 0
                    Path = path
                }

        Finding(severity, kind, location, message, witnesses, cure, differences)

    member list.Finding(severity, kind, index, part, message, witnesses) =
        list.Finding(severity, kind, index, part, message, witnesses, "", [])

/// What is wrong with a configuration, or likely to surprise: the findings of `kedge check`.
[<AbstractClass; Sealed>]
type Check private () =

    static let names (backends: IReadOnlyList<BackendInfo>) = backends |> Seq.map _.Name

    static let forwards (info: RouteInfo) =
        match info.Action with
        | NonNull action -> not action.Backends.IsEmpty
        | Null -> false

    /// The most requests that a cure is shown with.
    static let mostMoves = 10

    /// A cure in words, and what it would change.
    static let cureOf
        (list: CheckedList)
        (witness: 'request -> string)
        (cures: IReadOnlyDictionary<int, Cure<'request>>)
        route
        =
        match cures.TryGetValue route with
        | true, cure ->
            let moved = if cure.Moved = route then "it" else list.Name cure.Moved

            let place =
                match cure.To with
                | Before other -> $"before {list.Name other}"
                | After other when other = route -> "after this one"
                | After other -> $"after {list.Name other}"

            let names = RuleNames.Of(list.Protocol, list.List, list.Infos)
            let entry = Describe.routeEntry names

            let differences =
                cure.Moves
                |> List.truncate mostMoves
                |> List.map (fun move ->
                    let before, after = entry move.Before, entry move.After
                    Difference("route-order", before, after, witness move.Request, before, after))

            let more = cure.Moves.Length - differences.Length

            let more =
                if more > 0 then
                    $"; it moves the requests of {more} more routes"
                elif cure.Moves.IsEmpty then
                    ", or remove it: the outcome is the same"
                else
                    ""

            $"move {moved} {place}{more}", differences
        | _ -> "", []

    static let hidden (list: CheckedList) witness cures route (shadow: Reach<'request>) =
        let finding kind message taken =
            let cure, differences = cureOf list witness cures route

            [
                list.Finding(Severity.Warning, kind, route, [], message, List.map witness taken, cure, differences)
            ]

        match shadow with
        | Reached _
        | NeverHolds -> []
        | ShadowedBy(earlier, taken) ->
            finding "shadowed-route" $"no request reaches it: {list.Name earlier} takes them all" [ taken ]
        | OnlyAsterisk(_, taken, earlier) ->
            finding "shadowed-route" $"only `OPTIONS *` reaches it: {list.Name earlier} comes before it" [ taken ]
        | CoveredBy taken ->
            let earlier = taken |> List.map (fst >> list.Name) |> String.concat ", "

            finding
                "unreachable-route"
                $"no request reaches it: together, earlier routes take them all: {earlier}"
                (List.map snd taken)

    static let routeFinding
        (configuration: Configuration)
        (list: CheckedList)
        (witness: 'request -> string)
        (cures: IReadOnlyDictionary<int, Cure<'request>>)
        (finding: RouteFinding<'request>)
        : Finding list =
        let witnesses = List.map witness

        let report severity kind route message taken =
            [ list.Finding(severity, kind, route, [], message, witnesses taken) ]

        match finding with
        | Duplicate(route, first, taken) ->
            let action = list.Infos[route].ActionText

            let consequence =
                if action = list.Infos[first].ActionText then
                    ""
                elif not (forwards list.Infos[route]) then
                    $", and its action ({action}) is never taken"
                else
                    $", and its backend {action} is never used"

            report
                Severity.Warning
                "duplicate-route"
                route
                $"has the same conditions as {list.Name first}, which takes all its requests{consequence}"
                [ taken ]
        | Hidden(route, shadow) -> hidden list witness cures route shadow
        | NeverMatches route ->
            let message = $"no request can meet its conditions ({list.Infos[route].Rule})"
            report Severity.Warning "never-matching-route" route message []
        | NeverMatchingPath(route, rule) ->
            let part = [ Field "path_rules"; Step.Index rule ]
            let message = "no canonical path satisfies this rule"

            [
                list.Finding(Severity.Warning, "never-matching-path", route, part, message, [])
            ]
        | PrefixMissesRoot(route, rule, taken, winner) ->
            let where =
                match winner with
                | ValueSome winner -> $"goes to {list.Name winner}"
                | ValueNone -> "goes to no route"

            let part = [ Field "path_rules"; Step.Index rule ]

            let message =
                $"takes what is below the path, but the path itself {where}; `/**` takes both"

            [
                list.Finding(Severity.Info, "prefix-misses-root", route, part, message, witnesses [ taken ])
            ]
        | WildcardFirst(route, earlier, taken) ->
            report
                Severity.Info
                "wildcard-before-host"
                route
                $"some of its requests go to {list.Name earlier}, whose wildcard host is wider but comes first"
                [ taken ]
        | RewriteWithoutEffect(route, witness) ->
            let field =
                match (list.Infos[route].Filters |> Option.ofObj |> Option.bind _.Path) with
                | Some(WholePath _) -> "replace_full"
                | _ -> "replace_prefix"

            let part = [ Field "rewrite"; Field field ]

            let message =
                "it replaces the path by itself: the backend sees the path of the caller"

            let taken = witnesses (ValueOption.toList witness)

            [
                list.Finding(Severity.Warning, "rewrite-without-effect", route, part, message, taken)
            ]
        | SamePath(route, earlier, taken, takenEarlier) ->
            report
                Severity.Info
                "same-path-from-two-routes"
                route
                $"{list.Infos[route].ActionText} sees one path for two paths of callers, of which {list.Name earlier} takes one"
                [ taken; takenEarlier ]
        | DanglingBackend(route, backend, witness) ->
            let meant =
                match Suggestion.closest (names configuration.Backends[list.Protocol]) backend with
                | Some name -> $"; did you mean {name}?"
                | None -> ""

            // Without a pool file, a wrong name looks like one that is yet to be added.
            let severity =
                if configuration.PoolSource.File = "" then
                    Severity.Warning
                else
                    Severity.Error

            let isMirror (mirror: MirrorTarget) = mirror.Choice.Mirror.Backend = backend

            let part =
                match list.Infos[route].Mirrors, list.Infos[route].Split with
                | NonNull mirrors, _ when Array.exists isMirror mirrors ->
                    [ Field "mirror"; Step.Index(Array.findIndex isMirror mirrors) ]
                | _, NonNull split -> [ Field "backends"; Step.Index(Array.IndexOf(split.Names, backend)) ]
                | _ -> []

            let message =
                $"the backend pool has no {list.Protocol.Section} backend {backend}{meant}"

            [
                list.Finding(severity, "dangling-backend", route, part, message, witnesses (ValueOption.toList witness))
            ]
        | PrefixOverlap(route, earlier, taken) ->
            report
                Severity.Info
                "overlapping-grpc-prefixes"
                route
                $"some of the calls that its prefix names go to {list.Name earlier}, whose prefix is shorter but comes first"
                [ taken ]

    static let routes (configuration: Configuration) (semantics: RouteSemantics<'route, 'request>) analyse =
        let list = CheckedList.Routes(configuration, semantics.Protocol)
        let witness = semantics.Wrap >> RequestText.render
        let routes = semantics.Routes configuration.Director
        let findings = analyse (names configuration.Backends[semantics.Protocol]) routes

        let cures =
            findings
            |> List.choose (fun finding ->
                match finding with
                | Hidden(route, shadow) -> Some(route, shadow)
                | _ -> None)
            |> Cure.find semantics routes

        findings |> List.collect (routeFinding configuration list witness cures)

    /// A plain request with this authority.
    static let plainRequest (protocol: Protocol) host ports : Request =
        match protocol with
        | Protocol.Http ->
            Http
                {
                    Method = "GET"
                    Host = host
                    Ports = ports
                    Path = "/"
                    Query = ""
                    Mode = Decoded.ProxyMode.ReverseProxy
                    Listener = Decoded.Listener.Tls
                    Headers = []
                }
        | Protocol.Grpc ->
            Grpc
                {
                    Host = host
                    Ports = ports
                    Service = "any.Service"
                    Method = "Any"
                    Listener = Decoded.Listener.Tls
                    Metadata = []
                }

    static let adhocRules (configuration: Configuration) (protocol: Protocol) =
        let list = CheckedList.AdhocRules(configuration, protocol)

        let finding kind rule message name ports =
            let witness = RequestText.render (plainRequest protocol name ports)
            list.Finding(Severity.Warning, kind, rule, [], message, [ witness ])

        AdhocAnalysis.findings configuration.Director.AdhocRules[protocol]
        |> List.map (fun found ->
            match found with
            | HiddenRule(rule, earlier, name) ->
                let message =
                    $"it never decides: for each of its names an earlier rule does, such as {list.Name earlier}"

                finding "hidden-adhoc-rule" rule message name AuthorityPorts.Unspecified
            | HiddenPort(rule, earlier, name, port) ->
                let message =
                    $"port {port} of {name} is refused although this rule allows it: {list.Name earlier} decides"

                finding "hidden-adhoc-port" rule message name (AuthorityPorts.Of port))

    static let unusedBackends (configuration: Configuration) (semantics: RouteSemantics<'route, 'request>) =
        let protocol = semantics.Protocol
        let backends = configuration.Backends[protocol]

        let unused =
            HashSet<string>(
                Analysis.unusedBackends semantics (semantics.Routes configuration.Director) (names backends)
            )

        [
            for backend in backends do
                if unused.Contains backend.Name then
                    let path = [ Field protocol.Section; Field "backends"; Step.Index backend.Index ]
                    let message = $"no {protocol.Section} route names the backend {backend.Name}"
                    Finding(Severity.Warning, "unused-backend", configuration.PoolSource.Locate path, message, [])
        ]

    /// All findings, errors first, and within a severity in the order of the files.
    static member Findings(configuration: Configuration) : IReadOnlyList<Finding> =
        [|
            yield! routes configuration RouteSemantics.http Analysis.http
            yield! routes configuration RouteSemantics.grpc Analysis.grpc

            for protocol in Protocol.All do
                yield! adhocRules configuration protocol

            yield! unusedBackends configuration RouteSemantics.http
            yield! unusedBackends configuration RouteSemantics.grpc
        |]
        |> Array.sortBy (fun finding -> -int finding.Severity)
        :> IReadOnlyList<Finding>
