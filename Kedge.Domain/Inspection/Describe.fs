namespace Kedge.Domain

/// How rules are named in lines for people, by their index.
[<NoEquality; NoComparison>]
type RuleNames =
    {
        /// `director.json:12: $.http.routes[3]`
        Place: int -> string
        /// Its conditions: `host=a.example port=443`.
        Rule: int -> string
    }

    /// Both.
    member names.Full(index: int) = $"{names.Place index} ({names.Rule index})"

/// Matchers, mismatches and explanations in plain lines.
[<RequireQualifiedAccess>]
module Describe =

    let private ports (ports: AuthorityPorts) =
        if ports.Explicit = 0us then
            "80 or 443 (none given)"
        else
            string ports.Explicit

    let pathRule (rule: PathRule) =
        match rule with
        | ExactPath path -> path
        | PathPrefix prefix -> prefix + "*"

    let service (matcher: ServiceMatcher) =
        match matcher with
        | AnyService -> "*"
        | ExactService name
        | ExactMethod name -> name
        | ServicePrefix prefix
        | MethodPrefix prefix -> prefix + "*"

    let dnsName (matcher: DnsNameMatcher) =
        match matcher with
        | ExactName name -> name
        | NameSuffix suffix -> "*" + suffix

    let mode (mode: Decoded.ProxyMode) =
        match mode with
        | Decoded.ProxyMode.ReverseProxy -> "reverse proxy"
        | Decoded.ProxyMode.ForwardProxy -> "forward proxy"
        | _ -> "any"

    /// What is asked for, and what the request has instead.
    let mismatch (mismatch: Mismatch) : string =
        match mismatch with
        | NoHost -> "the request has no host"
        | HostMismatch(AnyHost, _) -> "the request has no host"
        | HostMismatch(ExactHost expected, host) -> $"host is {host}, not {expected}"
        | PortMismatch(AnyPort, found) -> $"port is {ports found}"
        | PortMismatch(ExactPort expected, found) -> $"port is {ports found}, not {expected}"
        | PathMismatch([| rule |], path) -> $"path {path} is not {pathRule rule}"
        | PathMismatch(rules, path) ->
            let rules = rules |> Seq.map pathRule |> String.concat ", "
            $"path {path} is none of {rules}"
        | ModeMismatch(expected, found) -> $"it is a {mode found} request, not a {mode expected} one"
        | HeaderMismatch(expected, []) -> $"header {expected.Name} is absent, not {expected.Value}"
        | HeaderMismatch(expected, values) ->
            let values = String.concat ", " values
            $"header {expected.Name} is {values}, not {expected.Value}"
        | ServiceMismatch(expected, method) -> $"method {method} is not {service expected}"
        | DnsNameMismatch(expected, name) -> $"name {name} is not {dnsName expected}"

    /// What a route's own demands on the caller are, beyond those of the server's flags.
    let authorization (demands: Decoded.Authorization option) : string =
        match demands with
        | None -> "as the server's flags demand"
        | Some demands when demands.Anonymous -> "open to everyone"
        | Some demands ->
            [
                if not demands.AnyPerms.IsEmpty then
                    "any permission of " + String.concat ", " demands.AnyPerms

                if not demands.AllPerms.IsEmpty then
                    "all permissions of " + String.concat ", " demands.AllPerms

                if not demands.ClientCertSans.IsEmpty then
                    "a client certificate for " + String.concat ", " demands.ClientCertSans
            ]
            |> function
                | [] -> "as the server's flags demand"
                | demands -> String.concat "; " demands

    /// A run of rules that failed in the same way at the host is one line, so that the rules which are near the request
    /// stand out in a table of thousands.
    let private passedLines (names: RuleNames) (passed: Passed list) =
        let isFar (p: Passed) =
            match p.Mismatches with
            | (HostMismatch _ | NoHost | DnsNameMismatch _) :: _ -> true
            | _ -> false

        let line (p: Passed) =
            let reasons = p.Mismatches |> List.map mismatch |> String.concat "; "
            $"{names.Full p.Rule}: no, {reasons}"

        let rec lines (passed: Passed list) =
            match passed with
            | [] -> []
            | first :: _ when isFar first ->
                let far = List.takeWhile isFar passed
                let rest = List.skip far.Length passed

                if far.Length <= 3 then
                    List.map line far @ lines rest
                else
                    let last = List.last far

                    $"{names.Place first.Rule} to {names.Place last.Rule}: no, {far.Length} rules for other hosts"
                    :: lines rest
            | near :: rest -> line near :: lines rest

        lines passed

    /// What the ad-hoc rules say; the label names a rule by its place.
    let decision (adhocLabel: int -> string) (decision: AdhocDecision) =
        match decision with
        | NoRule -> "no route and no ad-hoc rule takes it: kedge answers no-route"
        | PortNotAllowed(rule, port) -> $"{adhocLabel rule}: decides, port {port} is not allowed"
        | PatternAbsent(rule, pattern) -> $"{adhocLabel rule}: decides, the name does not contain {pattern}"
        | NotAName(rule, result) -> $"{adhocLabel rule}: decides, the name becomes {result}, which is none"
        | Target(rule, name, port) -> $"{adhocLabel rule}: decides, goes to {name}:{port}"

    /// A line for each rule that was tried in vain: the routes, then the ad-hoc rules.
    let passed (routes: RuleNames) (adhocRules: RuleNames) (explanation: Explanation) : string list =
        [
            yield! passedLines routes explanation.Passed

            match explanation.Verdict with
            | RouteWins _ -> ()
            | AdhocDecides(passed, _, _) -> yield! passedLines adhocRules passed
        ]

    /// What becomes of the request, in lines; the first says which rule decides.
    let verdict (routes: RuleNames) (adhocRules: RuleNames) (explanation: Explanation) : string list =
        [
            match explanation.Verdict with
            | RouteWins(route, backend, known, demands) ->
                $"{routes.Full route}: yes"

                "backend: "
                + backend
                + (if known then
                       ""
                   else
                       " (not in the backend pool: kedge answers no-backend)")

                "authorization: " + authorization demands
            | AdhocDecides(_, outcome, demands) ->
                decision adhocRules.Full outcome

                if outcome <> NoRule then
                    "authorization: " + authorization demands
        ]
