namespace Kedge.Domain

open System.Collections.Generic
open System.Net

/// What happens to one request, as `kedge explain` shows it.
[<Sealed>]
type ExplainReport
    private
    (explanation: Explanation, winner: RouteInfo | null, backendKnown: bool, passed: string array, verdict: string array)
    =

    /// Shows a long run of rules for other hosts as one line, so that the rules close to the request stand out in a
    /// table of thousands.
    static let passedLines (names: RuleNames) (passed: Passed list) =
        let isForOtherHost (p: Passed) =
            match p.Mismatches with
            | first :: _ -> first.Subject = HostMatcher.Subject || first.Subject = DnsNameMatcher.Subject
            | [] -> false

        let line (p: Passed) =
            let reasons = p.Mismatches |> List.map _.Text |> String.concat "; "
            $"{names.Full p.Rule}: no, {reasons}"

        let rec lines (passed: Passed list) =
            match passed with
            | [] -> []
            | first :: _ when isForOtherHost first ->
                let others = List.takeWhile isForOtherHost passed
                let rest = List.skip others.Length passed

                if others.Length <= 3 then
                    List.map line others @ lines rest
                else
                    let last = List.last others

                    $"{names.Place first.Rule} to {names.Place last.Rule}: no, {others.Length} rules for other hosts"
                    :: lines rest
            | close :: rest -> line close :: lines rest

        lines passed

    static let allPassed (routes: RuleNames) (adhocRules: RuleNames) (explanation: Explanation) =
        [|
            yield! passedLines routes explanation.Passed

            match explanation.Verdict with
            | RouteWins _
            | DefaultDecides _
            | ParametersDecide _ -> ()
            | AdhocDecides(passed, _, _) -> yield! passedLines adhocRules passed
        |]

    /// `answers: 308 Location: https://a.example/`.
    static let redirectLine (request: Request) (redirect: Redirect) =
        match request with
        | Http request -> $"answers: {redirect.Status} Location: {HttpRequest.location redirect request}"
        | Grpc _ -> $"answers: {redirect.Status}"

    static let notInPool (action: RouteAction) =
        if action.IsSplits then
            " (not all of them are in the backend pool: kedge answers no-backend for those that are not)"
        else
            " (not in the backend pool: kedge answers no-backend)"

    static let actionLine (request: Request) (action: RouteAction) (unknown: string) =
        match action with
        | ToBackend backend -> $"backend: {backend}{unknown}"
        | Splits split -> $"backends: {split.Text}{unknown}"
        | Redirects redirect -> redirectLine request redirect
        | Responds response ->
            [
                if response.ContentType <> "" then
                    response.ContentType
                if response.BodyFile <> "" then
                    $"the content of {response.BodyFile}"
                elif response.Body <> "" then
                    Excerpt.quote response.Body
                for name, value in response.Headers do
                    $"{name}: {value}"
                if response.RetryAfter > 0 then
                    $"Retry-After: {response.RetryAfter}"
            ]
            |> String.concat "; "
            |> fun rest -> $"answers: {response.Status} {rest}".TrimEnd()
        | RespondsGrpc response ->
            let message =
                if response.Message = "" then
                    ""
                else
                    $": {response.Message}"

            $"answers: {response.StatusName}{message}"

    static let verdictLines
        (routes: RuleNames)
        (adhocRules: RuleNames)
        (policies: Outcome -> string list)
        (winner: RouteInfo | null)
        (explanation: Explanation)
        =
        [|
            match explanation.Verdict with
            | RouteWins(route, outcome, known) ->
                let unknown = if known then "" else notInPool outcome.Action

                $"{routes.Full route}: yes"
                actionLine explanation.Request outcome.Action unknown

                match outcome.Action, winner with
                | Splits split, NonNull info ->
                    yield! SplitText.lines split info.Key explanation.Request
                    yield! SplitText.headers outcome.BackendFilters
                | _ -> ()

                if not outcome.Filters.IsNone then
                    let route = routes.Name route
                    $"forwards: {Describe.forwarded route outcome.Filters explanation.Request}"

                yield! policies outcome

                $"authorization: {Describe.authorization outcome.Demands}"

                match winner with
                | NonNull info -> yield! LimitText.lines outcome.Limits info.Key explanation.Request
                | Null -> ()
            | DefaultDecides None -> "no route takes it on the plain-HTTP listener: kedge answers no-route"
            | DefaultDecides(Some redirect) ->
                "no route takes it on the plain-HTTP listener, which redirects to https by default"
                redirectLine explanation.Request redirect
            | ParametersDecide(written, bare) ->
                let taken (route: int option) =
                    match route with
                    | Some route -> routes.Full route
                    | None -> "no route"

                $"rejected: {taken written} with its path parameters (`;`), {taken bare} without them: kedge answers bad-request"
            | AdhocDecides(_, decision, authorization) ->
                Describe.decision adhocRules decision

                if decision <> NoRule then
                    $"authorization: {Describe.authorization authorization}"
        |]

    static let explain (configuration: Configuration) withoutPool plain (request: Request) : Explanation =
        let protocol = request.Protocol
        let adhocRules = configuration.Director.AdhocRules[protocol]

        let backends = HashSet<string>(configuration.Backends[protocol] |> Seq.map _.Name)

        let isKnown name = withoutPool || backends.Contains name

        match request with
        | Http request ->
            Explain.request RouteSemantics.http configuration.Director.HttpRoutes adhocRules isKnown plain request
        | Grpc request ->
            Explain.request RouteSemantics.grpc configuration.Director.GrpcRoutes adhocRules isKnown plain request

    static let policyLines
        (configuration: Configuration)
        (withoutPool: bool)
        (winner: RouteInfo | null)
        (request: Request)
        (outcome: Outcome)
        =
        let isKnown name =
            withoutPool
            || configuration.Backends[request.Protocol]
               |> Seq.exists (fun backend -> backend.Name = name)

        let mirrors =
            match winner with
            | NonNull info -> MirrorText.lines isKnown outcome info.Key request
            | Null -> []

        let budgetOf name =
            configuration.Backends[request.Protocol]
            |> Seq.tryFind (fun backend -> backend.Name = name)
            |> Option.bind _.Definition.RetryBudget

        outcome.Action.Backends
        |> List.collect (fun name -> RetryText.lines outcome.Policies name (budgetOf name) request)
        |> List.distinct
        |> fun lines -> lines @ mirrors

    /// Why the request goes where it goes.
    static member Of(configuration: Configuration, request: Request) : ExplainReport =
        ExplainReport.Of(configuration, request, false, RedirectToHttps 443us)

    /// The same. `withoutPool`: the backend pool is not available, so every backend that a route names counts as known.
    /// `plain` is what the plain-HTTP listener does with requests that no route takes.
    static member Of
        (configuration: Configuration, request: Request, withoutPool: bool, plain: PlainDefault)
        : ExplainReport =
        let protocol = request.Protocol
        let infos = configuration.Routes[protocol]
        let routes = RuleNames.Of(protocol, "routes", infos)

        let adhocRules =
            RuleNames.Of(protocol, "adhoc_rules", configuration.AdhocRules[protocol])

        let explanation = explain configuration withoutPool plain request

        let winner: RouteInfo | null =
            match explanation.Verdict with
            | RouteWins(route, _, _) -> infos[route]
            | AdhocDecides _
            | DefaultDecides _
            | ParametersDecide _ -> null

        let backendKnown =
            match explanation.Verdict with
            | RouteWins(_, _, known) -> known
            | AdhocDecides _
            | DefaultDecides _
            | ParametersDecide _ -> false

        ExplainReport(
            explanation,
            winner,
            backendKnown,
            allPassed routes adhocRules explanation,
            verdictLines routes adhocRules (policyLines configuration withoutPool winner request) winner explanation
        )

    /// The whole explanation, as data.
    member _.Explanation: Explanation = explanation
    /// The route that wins; null when none does.
    member _.Winner: RouteInfo | null = winner

    /// The request as the backend sees it; empty when the winner forwards it unchanged, or when there is none.
    member _.Forwards: string =
        match explanation.Verdict, winner with
        | RouteWins(_, outcome, _), NonNull winner when not outcome.Filters.IsNone ->
            Describe.forwarded winner.Name outcome.Filters explanation.Request
        | _ -> ""

    /// Whether the rule that decides admits a caller with this address, and, when a route splits its requests by
    /// address, the backend that this caller gets.
    member report.CallerLines(from: IPAddress) : IReadOnlyList<string> =
        let demands = report.Demands

        [|
            if Access.AddressMatters demands then
                if Access.AdmitsAddress(demands, from) then
                    $"from {from}: admitted by its networks"
                else
                    $"from {from}: not admitted by its networks: 403 unauthorized"
            else
                $"from {from}: any address is admitted"

            match explanation.Verdict, winner with
            | RouteWins(_, { Action = Splits split }, _), NonNull info ->
                yield! SplitText.ofAddress split info.Key from |> Option.toList
            | _ -> ()
        |]

    /// What the rule that decides and the flags require of tokens, and whether a token meets it; null = its issuer is
    /// unknown. `audiences` are those of the token, `accepted` those that the issuer accepts.
    member report.TokenLines
        (server: ServerDemands, token: VerifiedToken | null, audiences: string seq, accepted: string seq)
        : IReadOnlyList<string> =
        IssuerText.explain server report.Demands token (Set.ofSeq audiences) (Set.ofSeq accepted)

    member private _.Demands: RouteDemands =
        match explanation.Verdict with
        | RouteWins(_, outcome, _) -> RouteDemands.Of(outcome.Demands, outcome.Issuers)
        | AdhocDecides(_, _, authorization) -> RouteDemands.Of authorization
        | DefaultDecides _
        | ParametersDecide _ -> RouteDemands.None

    /// Whether the pool has the winner's backend.
    member _.BackendKnown: bool = backendKnown
    /// A line for each rule that does not take the request; a run of rules for other hosts shares one.
    member _.PassedLines: IReadOnlyList<string> = passed
    /// The rule that decides, and what happens to the request.
    member _.VerdictLines: IReadOnlyList<string> = verdict
    /// `PassedLines`, then `VerdictLines`.
    member _.Lines: IReadOnlyList<string> = Array.append passed verdict
