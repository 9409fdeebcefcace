namespace Kedge.Domain

/// A rule before the one that decides, and why it does not take the request; never without a reason.
type Passed =
    { Rule: int; Mismatches: Mismatch list }

type Verdict =
    /// `backendKnown` says whether the pool has every backend that the route forwards to.
    | RouteWins of route: int * outcome: Outcome * backendKnown: bool
    /// No route takes the request. `passed` are the ad-hoc rules before the one that decides.
    | AdhocDecides of passed: Passed list * decision: AdhocDecision * authorization: Decoded.Authorization option

    /// No route takes the request on the plain-HTTP listener, where ad-hoc rules do not apply. None = it is not
    /// redirected either.
    | DefaultDecides of redirect: Redirect option
    /// Another route, or none, would take the request without its path parameters, so it is rejected.
    | ParametersDecide of written: int option * bare: int option

type Explanation =
    {
        Request: Request
        /// Every route before the winner, in order; all of them when none wins.
        Passed: Passed list
        Verdict: Verdict
    }

/// Why a request goes where it goes.
[<RequireQualifiedAccess>]
module Explain =

    /// The rules before the first that takes the request, and the index of that one.
    let private walk (mismatches: 'rule -> Mismatch list) (rules: 'rule array) =
        let rec go index passed =
            if index = rules.Length then
                List.rev passed, None
            else
                match mismatches rules[index] with
                | [] -> List.rev passed, Some index
                | failed -> go (index + 1) ({ Rule = index; Mismatches = failed } :: passed)

        go 0 []

    let private adhocVerdict (rules: AdhocRule array) (request: Request) =
        let passed, decider =
            rules
            |> walk (fun rule -> rule.Name.Mismatch request.Host |> ValueOption.toList)

        AdhocDecides(
            passed,
            Adhoc.decide rules request.Host request.Ports,
            decider |> Option.bind (fun rule -> rules[rule].Authorization)
        )

    /// `backendKnown` says whether the pool has a backend with a name.
    let request
        (semantics: RouteSemantics<'route, 'request>)
        (routes: 'route array)
        (adhocRules: AdhocRule array)
        (backendKnown: string -> bool)
        (plain: PlainDefault)
        (request: 'request)
        : Explanation =
        let passed, winner =
            routes |> walk (fun route -> semantics.Mismatches route request)

        let parameters = semantics.ParametersDecide routes request
        let request = semantics.Wrap request

        {
            Request = request
            Passed = passed
            Verdict =
                match parameters, winner with
                | ValueSome(written, bare), _ -> ParametersDecide(written, bare)
                | ValueNone, Some index ->
                    let outcome = semantics.Outcome routes[index]
                    RouteWins(index, outcome, List.forall backendKnown outcome.Action.Backends)
                | ValueNone, None when request.Listener = Decoded.Listener.Plain ->
                    DefaultDecides(
                        if request.Protocol = Protocol.Http && request.Host <> "" then
                            plain.Redirect
                        else
                            None
                    )
                | ValueNone, None -> adhocVerdict adhocRules request
        }
