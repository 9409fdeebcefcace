namespace Kedge.Domain

open System.Collections.Generic

/// What a change of the configuration moves: the report of `kedge diff`.
[<AbstractClass; Sealed>]
type DiffReport private () =

    static let adhocNames (configuration: Configuration) (protocol: Protocol) =
        RuleNames.Of(protocol, "adhoc_rules", configuration.AdhocRules[protocol])

    /// A route with its place, conditions and action; empty when the index is -1.
    static let routeEntry (protocol: Protocol) (configuration: Configuration) index =
        if index < 0 then
            ""
        else
            Describe.routeEntry (RuleNames.Of(protocol, "routes", configuration.Routes[protocol])) index

    /// Where the request goes: to the route with this index or, when it is -1, where the ad-hoc rules decide.
    static let outcome (configuration: Configuration) index (request: Request) =
        let protocol = request.Protocol

        if index < 0 && request.Listener = Decoded.Listener.Plain then
            "no route; what the plain-HTTP listener does by default"
        elif index >= 0 then
            routeEntry protocol configuration index
        else
            let decision = configuration.DecideAdhoc(protocol, request.Host, request.Ports)
            "no route; " + Describe.decision (adhocNames configuration protocol) decision

    static let outcomeOf (semantics: RouteSemantics<'route, 'request>) (configuration: Configuration) index =
        if index < 0 then
            None
        else
            let routes: 'route array = semantics.Routes configuration.Director
            Some(semantics.Outcome routes[index])

    static let filtersOf (semantics: RouteSemantics<'route, 'request>) (configuration: Configuration) index =
        match outcomeOf semantics configuration index with
        | Some outcome -> outcome.Filters
        | None -> Filters.None

    static let backendFiltersOf (semantics: RouteSemantics<'route, 'request>) (configuration: Configuration) index =
        match outcomeOf semantics configuration index with
        | Some outcome -> outcome.BackendFilters
        | None -> Map.empty

    static let policiesOf (semantics: RouteSemantics<'route, 'request>) (configuration: Configuration) index =
        match outcomeOf semantics configuration index with
        | Some outcome -> outcome.Policies
        | None -> Policies.None

    static let limitsOf (semantics: RouteSemantics<'route, 'request>) (configuration: Configuration) index =
        match outcomeOf semantics configuration index with
        | Some outcome -> outcome.Limits
        | None -> RouteLimits.None

    static let isSplit (info: RouteInfo) = not (isNull (box info.Split))

    static let issuersOf (semantics: RouteSemantics<'route, 'request>) (configuration: Configuration) index =
        match outcomeOf semantics configuration index with
        | Some outcome -> outcome.Issuers
        | None -> []

    static let routes (before: Configuration) (after: Configuration) (semantics: RouteSemantics<'route, 'request>) =
        let entry = routeEntry semantics.Protocol

        let difference (found: RouteDifference<'request>) =
            let kind, old, current =
                match found.Change with
                | Added current -> "route-added", -1, current
                | Removed old -> "route-removed", old, -1
                | Changed(old, current) -> "route-changed", old, current
                | Reordered(old, current) -> "route-order", old, current

            let witness, went, goes =
                match found.Move with
                | None -> "", "", ""
                | Some move ->
                    let request = semantics.Wrap move.Request
                    let filtersBefore = filtersOf semantics before move.Before
                    let filtersAfter = filtersOf semantics after move.After

                    // If both leave the request unchanged, its forwarded form adds nothing.
                    let form (configuration: Configuration) index (filters: Filters) =
                        if index < 0 || (filtersBefore.IsNone && filtersAfter.IsNone) then
                            ""
                        else
                            let name = configuration.Routes[semantics.Protocol].[index].Name
                            $", which sees {Describe.forwarded name filters request}"

                    let ofBackendsBefore = backendFiltersOf semantics before move.Before
                    let ofBackendsAfter = backendFiltersOf semantics after move.After

                    let ofBackends index (shown: Map<string, Filters>) =
                        if index < 0 || ofBackendsBefore = ofBackendsAfter then
                            ""
                        else
                            SplitText.changedHeaders shown

                    let policiesBefore = policiesOf semantics before move.Before
                    let policiesAfter = policiesOf semantics after move.After

                    let policies index (shown: Policies) =
                        if index < 0 || policiesBefore = policiesAfter then
                            ""
                        else
                            RetryText.changed semantics.Protocol shown

                    let limitsBefore = limitsOf semantics before move.Before
                    let limitsAfter = limitsOf semantics after move.After

                    // If a request goes nowhere, the loss of its limits does not matter.
                    let limits (shown: RouteLimits) (direction: string) =
                        if limitsBefore = limitsAfter || move.Before < 0 || move.After < 0 then
                            ""
                        else
                            LimitText.changed shown + direction

                    let issuersBefore = issuersOf semantics before move.Before
                    let issuersAfter = issuersOf semantics after move.After

                    let issuers index (shown: TokenIssuer list) =
                        if index < 0 || issuersBefore = issuersAfter then
                            ""
                        else
                            IssuerText.changed shown

                    let direction = LimitText.direction limitsBefore.Limits limitsAfter.Limits

                    RequestText.render request,
                    outcome before move.Before request
                    + form before move.Before filtersBefore
                    + ofBackends move.Before ofBackendsBefore
                    + policies move.Before policiesBefore
                    + limits limitsBefore ""
                    + issuers move.Before issuersBefore,
                    outcome after move.After request
                    + form after move.After filtersAfter
                    + ofBackends move.After ofBackendsAfter
                    + policies move.After policiesAfter
                    + limits limitsAfter direction
                    + issuers move.After issuersAfter

            Difference(kind, entry before old, entry after current, witness, went, goes)

        let winnerBefore = lazy (semantics.Winner(semantics.Routes before.Director))
        let winnerAfter = lazy (semantics.Winner(semantics.Routes after.Director))

        let conditionsOf (configuration: Configuration) =
            semantics.Routes configuration.Director |> Array.map semantics.Conditions

        let conditionsBefore = lazy (conditionsOf before)
        let conditionsAfter = lazy (conditionsOf after)

        let space =
            lazy (RouteSemantics.space semantics (Seq.append conditionsBefore.Value conditionsAfter.Value))

        /// The difference between the splits of a changed route.
        let split (found: RouteDifference<'request>) =
            match found.Change with
            | Changed(old, current) ->
                let infos =
                    before.Routes[semantics.Protocol].[old], after.Routes[semantics.Protocol].[current]

                let splits = isSplit (fst infos) || isSplit (snd infos)

                if not splits then
                    None
                else
                    // Only a request that both routes take shows the effect on the split.
                    let request =
                        match RequestConditions.meet conditionsBefore.Value[old] conditionsAfter.Value[current] with
                        | Some both ->
                            space.Value.Representatives both
                            |> Seq.map semantics.Request
                            |> Seq.tryFind (fun request ->
                                winnerBefore.Value request = old && winnerAfter.Value request = current)
                            |> Option.map semantics.Wrap
                        | None -> None

                    let isTaken (request: Request) =
                        match semantics.Unwrap request with
                        | ValueSome request -> winnerBefore.Value request = old && winnerAfter.Value request = current
                        | ValueNone -> false

                    SplitDiff.difference
                        (entry before old)
                        (entry after current)
                        (fst infos)
                        (snd infos)
                        isTaken
                        request
            | _ -> None

        let isOnlySplit (found: RouteDifference<'request>) =
            match found.Change with
            | Changed(old, current) ->
                let routesBefore = semantics.Routes before.Director
                let routesAfter = semantics.Routes after.Director
                let was, now = routesBefore[old], routesAfter[current]

                SplitDiff.isAll (semantics.Outcome was) (semantics.Outcome now)
                && semantics.Marks was = semantics.Marks now
                && semantics.Conditions was = semantics.Conditions now
            | _ -> false

        Diff.routes semantics (semantics.Routes before.Director) (semantics.Routes after.Director)
        |> List.collect (fun found ->
            match split found with
            | Some weights when isOnlySplit found -> [ weights ]
            | weights -> difference found :: Option.toList weights)

    /// Callers whom routes admit now but did not admit before, and the other way round; both, if there are both.
    static let access (before: Configuration) (after: Configuration) (semantics: RouteSemantics<'route, 'request>) =
        let demands (configuration: Configuration) index =
            let routes = semantics.Routes configuration.Director
            let outcome = semantics.Outcome routes[index]
            RouteDemands.Of(outcome.Demands, outcome.Issuers)

        let entry = routeEntry semantics.Protocol

        [
            for move in Diff.demands semantics (semantics.Routes before.Director) (semantics.Routes after.Director) do
                let was, now = demands before move.Before, demands after move.After
                let request = RequestText.render (semantics.Wrap move.Request)

                let difference kind (caller: WitnessCaller option) =
                    match caller with
                    | Some caller ->
                        [
                            Difference(
                                kind,
                                entry before move.Before,
                                entry after move.After,
                                request,
                                Admission.decide was caller,
                                Admission.decide now caller,
                                caller.Text
                            )
                        ]
                    | None -> []

                yield! difference "access-loosened" (Admission.onlyAdmittedBy now was)
                yield! difference "access-tightened" (Admission.onlyAdmittedBy was now)
        ]

    /// Requests with a given authority that no route of either configuration takes.
    static let unroutedRequests
        (before: Configuration)
        (after: Configuration)
        (semantics: RouteSemantics<'route, 'request>)
        =
        let tables =
            [ before; after ]
            |> List.map (fun configuration -> semantics.Routes configuration.Director)

        let winners = tables |> List.map semantics.Winner

        // Routes are least likely to take a request without headers and with a text that no route names.
        let space =
            lazy
                (tables
                 |> Seq.collect (Seq.map semantics.Conditions)
                 |> RouteSemantics.space semantics)

        fun host (ports: AuthorityPorts) ->
            seq {
                for mode in semantics.Any.Modes do
                    // A forward-proxy request always has a port.
                    if mode = Decoded.ProxyMode.ReverseProxy || ports.Explicit <> 0us then
                        let conditions =
                            { semantics.Any with
                                Host = ExactHost host
                                Modes = [ mode ]
                                // Ad-hoc rules apply only on the TLS listeners.
                                Listeners = [ Decoded.Listener.Tls ]
                            }

                        for point in space.Value.Representatives conditions do
                            semantics.Request { point with Ports = ports }
            }
            |> Seq.filter (fun request -> winners |> List.forall (fun winner -> winner request < 0))

    static let adhocRules (before: Configuration) (after: Configuration) (semantics: RouteSemantics<'route, 'request>) =
        let protocol = semantics.Protocol
        let unrouted = unroutedRequests before after semantics
        let hasUnrouted host ports = not (Seq.isEmpty (unrouted host ports))

        AdhocDiff.rules hasUnrouted before.Director.AdhocRules[protocol] after.Director.AdhocRules[protocol]
        |> List.map (fun difference ->
            let request = Seq.head (unrouted difference.Host difference.Ports)
            let witness = RequestText.render (semantics.Wrap request)
            let was = Describe.decision (adhocNames before protocol) difference.Before
            let now = Describe.decision (adhocNames after protocol) difference.After
            Difference("adhoc-rules", "", "", witness, was, now))

    static let backends (before: Configuration) (after: Configuration) (protocol: Protocol) =
        let difference kind was now = Difference(kind, was, now, "", "", "")
        let entry name = $"{protocol.Section} {name}"

        BackendDiff.backends protocol before.Pool after.Pool
        |> List.map (fun change ->
            match change with
            | BackendAdded name -> difference "backend-added" "" (entry name)
            | BackendRemoved name -> difference "backend-removed" (entry name) ""
            | BackendChanged name -> difference "backend-changed" (entry name) (entry name))

    static let rateLimits (before: Configuration) (after: Configuration) =
        let find (limits: RateLimit list) name = limits |> List.tryFind (fun limit -> limit.Name = name)
        let old = before.Director.RateLimits
        let current = after.Director.RateLimits
        let difference kind was now = Difference(kind, was, now, "", "", "")

        [
            for limit in old do
                match find current limit.Name with
                | None -> difference "rate-limit-removed" (LimitText.entry limit) ""
                | Some now when now <> limit ->
                    let direction = LimitText.direction [ limit ] [ now ]
                    difference "rate-limit-changed" (LimitText.entry limit) (LimitText.entry now + direction)
                | Some _ -> ()

            for limit in current do
                if (find old limit.Name).IsNone then
                    difference "rate-limit-added" "" (LimitText.entry limit)
        ]

    /// What the change moves. Empty when every request has the same outcome and no entry was added, removed or changed.
    static member Differences(before: Configuration, after: Configuration) : IReadOnlyList<Difference> =
        [|
            yield! routes before after RouteSemantics.http
            yield! routes before after RouteSemantics.grpc
            yield! access before after RouteSemantics.http
            yield! access before after RouteSemantics.grpc
            yield! adhocRules before after RouteSemantics.http
            yield! adhocRules before after RouteSemantics.grpc

            for protocol in Protocol.All do
                yield! backends before after protocol

            yield! rateLimits before after
            yield! IssuerText.differences before.Director.TokenIssuers after.Director.TokenIssuers
        |]
