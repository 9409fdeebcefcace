namespace Kedge.Domain

open System.Collections.Generic

/// How much a finding matters. `kedge check` fails for errors, and for warnings when asked to be strict.
type Severity =
    | Info = 0
    | Warning = 1
    | Error = 2

/// Something that `kedge check` says about a configuration.
[<Sealed>]
type Finding internal (severity: Severity, kind: string, at: Location, message: string, witnesses: string list) =
    let witnesses = List.toArray witnesses
    member _.Severity: Severity = severity
    /// `shadowed-route`, `unreachable-route`, `duplicate-route`, `never-matching-route`, `never-matching-path`,
    /// `dangling-backend`, `unused-backend`, `overlapping-grpc-prefixes`, `hidden-adhoc-rule`, `hidden-adhoc-port`.
    member _.Kind: string = kind
    /// Empty for a generated entry.
    member _.File: string = at.File
    /// From 1; 0 for an entry that no file has. Likewise the column.
    member _.Line: int = at.Line
    member _.Column: int = at.Column
    /// `$.http.routes[3]`
    member _.Path: string = JsonPath.render at.Path
    member _.Message: string = message
    /// The requests that prove it, as arguments of `kedge explain`; the first is the plainest. Empty when the point is
    /// that there is none.
    member _.Witnesses: IReadOnlyList<string> = witnesses

/// One thing that `kedge diff` says about two configurations.
[<Sealed>]
type Difference internal (kind: string, before: string, after: string, witness: string, moveBefore, moveAfter) =
    /// `route-added`, `route-removed`, `route-changed`, `route-order`, `adhoc-rules`, `backend-added`,
    /// `backend-removed`, `backend-changed`.
    member _.Kind: string = kind
    /// The entry in the old configuration; empty when there is none.
    member _.Before: string = before
    /// The entry in the new configuration; empty when there is none.
    member _.After: string = after
    /// A request that goes elsewhere because of it, as arguments of `kedge explain`; empty when none does.
    member _.Witness: string = witness
    /// Where that request went; empty without one.
    member _.WitnessBefore: string = moveBefore
    /// Where it goes now; empty without one.
    member _.WitnessAfter: string = moveAfter

/// What becomes of one request.
[<Sealed>]
type ExplainReport
    internal
    (explanation: Explanation, winner: RouteInfo, backendKnown: bool, passed: string list, verdict: string list) =
    let passed = List.toArray passed
    let verdict = List.toArray verdict
    /// The whole of it, typed, for F#.
    member _.Explanation: Explanation = explanation
    /// The route that wins; null when none does.
    member _.Winner: RouteInfo = winner
    /// Whether the pool has the winner's backend.
    member _.BackendKnown: bool = backendKnown
    /// A line for each rule that was tried in vain; many in a row for other hosts share one.
    member _.PassedLines: IReadOnlyList<string> = passed
    /// The rule that decides, and what becomes of the request.
    member _.VerdictLines: IReadOnlyList<string> = verdict
    /// A line for each rule that was tried, and the outcome.
    member _.Lines: IReadOnlyList<string> = Array.append passed verdict
