namespace Kedge.Domain

open System

/// What the ad-hoc rules say of a request that no route takes. SPEC section 4.
type AdhocDecision =
    /// No rule has a matcher for the name: section 8's "no route".
    | NoRule
    /// `port` is not allowed by the rule that decides.
    | PortNotAllowed of rule: int * port: uint16
    /// The rule's `dns_name_replace` pattern does not occur in the name.
    | PatternAbsent of rule: int * pattern: string
    /// What `dns_name_replace` made of the name is no host name.
    | NotAName of rule: int * result: string
    /// Look this name up and forward to this port. The name is in lower case, without a trailing dot.
    | Target of rule: int * dnsName: string * port: uint16

[<RequireQualifiedAccess>]
module Adhoc =

    /// For a request without a port, under a rule without a default.
    [<Literal>]
    let private DefaultPort = 80us

    let private isAllowed (rule: AdhocRule) (port: uint16) =
        Array.contains port rule.AllowedPorts
        || rule.AllowedRanges
           |> Array.exists (fun (struct (first, last)) -> first <= port && port <= last)

    /// Every occurrence of the pattern is replaced, without regard to case.
    let private lookUpName (rule: AdhocRule) (host: string) : Result<string, string> =
        let name = HostName.withoutTrailingDot(host.AsSpan()).ToString().ToLowerInvariant()

        match rule.Replace with
        | Some replace when replace.Pattern <> "" ->
            if name.Contains(replace.Pattern, StringComparison.OrdinalIgnoreCase) then
                let replaced =
                    name.Replace(replace.Pattern, replace.Substitution, StringComparison.OrdinalIgnoreCase)

                Ok(HostName.withoutTrailingDot(replaced.AsSpan()).ToString().ToLowerInvariant())
            else
                Error replace.Pattern
        | _ -> Ok name

    /// The first rule whose name matches decides, whatever it then says. `host` is without port and brackets. The port is
    /// the request's one port, else the rule's default, else 80; a rule that allows no port allows nothing.
    let decide (rules: AdhocRule array) (host: string) (ports: AuthorityPorts) : AdhocDecision =
        match rules |> Array.tryFindIndex (fun rule -> rule.Name.Holds(host.AsSpan())) with
        | None -> NoRule
        | Some index ->
            let rule = rules[index]

            let port =
                if ports.Explicit <> 0us then ports.Explicit
                elif rule.DefaultPort <> 0us then rule.DefaultPort
                else DefaultPort

            if not (isAllowed rule port) then
                PortNotAllowed(index, port)
            else
                match lookUpName rule host with
                | Error pattern -> PatternAbsent(index, pattern)
                | Ok name when HostName.isName (name.AsSpan()) || HostName.isIPv6 (name.AsSpan()) ->
                    Target(index, name, port)
                | Ok name -> NotAName(index, name)
