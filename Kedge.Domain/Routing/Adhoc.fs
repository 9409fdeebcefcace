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
    /// Look this name up and forward to this port.
    | Target of rule: int * dnsName: string * port: uint16

[<RequireQualifiedAccess>]
module Adhoc =

    /// The first rule whose name matches decides.
    let decide (rules: AdhocRule array) (host: string) (ports: AuthorityPorts) : AdhocDecision = failwith "contract"
