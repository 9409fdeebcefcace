namespace Kedge.Domain

open System

/// A condition that a request failed, with the value that failed it. Paired with the matchers by name: what a
/// `HostMatcher` does not take is a `HostMismatch`.
type Mismatch =
    | HostMismatch of expected: HostMatcher * host: string
    /// No HTTP route takes a request without a host.
    | NoHost
    | PortMismatch of expected: PortMatcher * ports: AuthorityPorts
    /// None of the alternatives holds.
    | PathMismatch of rules: PathRule array * path: string
    | ModeMismatch of expected: Decoded.ProxyMode * mode: Decoded.ProxyMode
    /// `values` are those that the request has under this name.
    | HeaderMismatch of expected: HeaderMatcher * values: string list
    | ServiceMismatch of expected: ServiceMatcher * method: string
    /// Of an ad-hoc rule.
    | DnsNameMismatch of expected: DnsNameMatcher * name: string

/// A rule that was tried in vain, and everything that spoke against it; never empty.
type Passed =
    { Rule: int; Mismatches: Mismatch list }

type Verdict =
    | RouteWins of route: int * backend: string * backendKnown: bool * authorization: Decoded.Authorization option
    /// No route holds. `passed` are the ad-hoc rules before the one that decides.
    | AdhocDecides of passed: Passed list * decision: AdhocDecision * authorization: Decoded.Authorization option

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

    let private headerMismatches (matchers: HeaderMatcher array) (headers: (string * string) list) =
        let request = HeaderList headers

        [
            for matcher in matchers do
                if not (matcher.Holds &request) then
                    let values =
                        headers
                        |> List.filter (fun (name, _) ->
                            String.Equals(name, matcher.Name, StringComparison.OrdinalIgnoreCase))
                        |> List.map snd

                    HeaderMismatch(matcher, values)
        ]

    /// Every condition of the route that the request fails; empty when the route holds.
    let httpMismatches (route: HttpRoute) (request: HttpRequest) : Mismatch list =
        [
            if (HostName.withoutTrailingDot (request.Host.AsSpan())).Length = 0 then
                NoHost
            elif not (route.Host.Holds(request.Host.AsSpan())) then
                HostMismatch(route.Host, request.Host)

            if not (route.Port.Holds request.Ports) then
                PortMismatch(route.Port, request.Ports)

            if
                route.Paths.Length > 0
                && not (route.Paths |> Array.exists (fun rule -> rule.Holds(request.Path.AsSpan())))
            then
                PathMismatch(route.Paths, request.Path)

            if route.Mode <> Decoded.ProxyMode.Any && route.Mode <> request.Mode then
                ModeMismatch(route.Mode, request.Mode)

            yield! headerMismatches route.Headers request.Headers
        ]

    /// Every condition of the route that the call fails; empty when the route holds.
    let grpcMismatches (route: GrpcRoute) (request: GrpcRequest) : Mismatch list =
        let fullMethod = request.Service + "/" + request.Method

        [
            if not (route.Host.Holds(request.Host.AsSpan())) then
                HostMismatch(route.Host, request.Host)

            if not (route.Port.Holds request.Ports) then
                PortMismatch(route.Port, request.Ports)

            if not (route.Service.Holds(request.Service.AsSpan(), fullMethod.AsSpan())) then
                ServiceMismatch(route.Service, fullMethod)

            yield! headerMismatches route.Metadata request.Metadata
        ]

    /// The rules up to the first that holds, and that one.
    let private walk (mismatches: 'rule -> Mismatch list) (rules: 'rule array) =
        let rec go index passed =
            if index = rules.Length then
                List.rev passed, None
            else
                match mismatches rules[index] with
                | [] -> List.rev passed, Some index
                | failed -> go (index + 1) ({ Rule = index; Mismatches = failed } :: passed)

        go 0 []

    let private adhocVerdict (rules: AdhocRule array) (host: string) (ports: AuthorityPorts) =
        let nameMismatch (rule: AdhocRule) =
            if rule.Name.Holds(host.AsSpan()) then
                []
            else
                [ DnsNameMismatch(rule.Name, host) ]

        let passed, decider = walk nameMismatch rules

        AdhocDecides(
            passed,
            Adhoc.decide rules host ports,
            decider |> Option.bind (fun rule -> rules[rule].Authorization)
        )

    /// `backendKnown` says whether the pool has a backend of a name.
    let http
        (routes: HttpRoute array)
        (adhocRules: AdhocRule array)
        (backendKnown: string -> bool)
        (request: HttpRequest)
        : Explanation =
        let passed, winner = walk (fun route -> httpMismatches route request) routes

        {
            Request = Http request
            Passed = passed
            Verdict =
                match winner with
                | Some route ->
                    let winner = routes[route]
                    RouteWins(route, winner.Backend, backendKnown winner.Backend, winner.Authorization)
                | None -> adhocVerdict adhocRules request.Host request.Ports
        }

    /// `backendKnown` says whether the pool has a backend of a name.
    let grpc
        (routes: GrpcRoute array)
        (adhocRules: AdhocRule array)
        (backendKnown: string -> bool)
        (request: GrpcRequest)
        : Explanation =
        let passed, winner = walk (fun route -> grpcMismatches route request) routes

        {
            Request = Grpc request
            Passed = passed
            Verdict =
                match winner with
                | Some route ->
                    let winner = routes[route]
                    RouteWins(route, winner.Backend, backendKnown winner.Backend, winner.Authorization)
                | None -> adhocVerdict adhocRules request.Host request.Ports
        }
