namespace Kedge.Domain

open System

/// What the ad-hoc rules decide about a request that no route matches. See docs/matching.md.
type AdhocDecision =
    /// No rule matches the name: the request has no route.
    | NoRule
    /// The deciding rule does not allow `port`.
    | PortNotAllowed of rule: int * port: uint16
    /// The pattern of the rule's `dns_name_replace` does not occur in the name.
    | PatternAbsent of rule: int * pattern: string
    /// The result of `dns_name_replace` is not a host name.
    | NotAName of rule: int * result: string
    /// Look this name up and forward to this port. The name is in lower case, without a trailing dot.
    | Target of rule: int * dnsName: string * port: uint16

[<RequireQualifiedAccess>]
module Adhoc =

    /// The port of a request without one, under a rule without a default.
    [<Literal>]
    let private DefaultPort = 80us

    /// Replaces every occurrence of the pattern, ignoring case. The error is the pattern, when it does not occur.
    let private nameToLookUp (rule: AdhocRule) (host: string) : Result<string, string> =
        let name = HostName.withoutTrailingDot(host.AsSpan()).ToString().ToLowerInvariant()

        match rule.Replace with
        | Some replace when replace.Pattern <> "" ->
            if name.Contains(replace.Pattern, StringComparison.OrdinalIgnoreCase) then
                let replaced =
                    name.Replace(replace.Pattern, replace.Substitution, StringComparison.OrdinalIgnoreCase)

                Ok(HostName.canonical (HostName.withoutTrailingDot(replaced.AsSpan()).ToString().ToLowerInvariant()))
            else
                Error replace.Pattern
        | _ -> Ok name

    /// The first rule whose name matches decides, even if it refuses. `host` is without port and brackets. The port is
    /// the request's single port, otherwise the rule's default, otherwise 80; a rule that allows no port allows
    /// nothing.
    let decide (rules: AdhocRule array) (host: string) (ports: AuthorityPorts) : AdhocDecision =
        match AdhocRule.Decider(rules, host) with
        | None -> NoRule
        | Some index ->
            let rule = rules[index]

            let port =
                if ports.Explicit <> 0us then ports.Explicit
                elif rule.DefaultPort <> 0us then rule.DefaultPort
                else DefaultPort

            if not (rule.Allows port) then
                PortNotAllowed(index, port)
            else
                match nameToLookUp rule host with
                | Error pattern -> PatternAbsent(index, pattern)
                | Ok name when HostName.isHost (name.AsSpan()) -> Target(index, name, port)
                | Ok name -> NotAName(index, name)
