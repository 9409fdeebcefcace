namespace Kedge.Domain

open System.Collections.Generic

/// How much a finding matters. `kedge check` fails for errors, and with `--strict` also for warnings.
type Severity =
    | Info = 0
    | Warning = 1
    | Error = 2

/// Something that `kedge check` reports about a configuration.
[<Sealed>]
type Finding
    internal
    (
        severity: Severity,
        kind: string,
        at: Location,
        message: string,
        witnesses: string list,
        cure: string,
        cureDifferences: Difference list
    ) =
    let witnesses = List.toArray witnesses
    let cureDifferences = List.toArray cureDifferences

    internal new(severity, kind, at, message, witnesses) = Finding(severity, kind, at, message, witnesses, "", [])

    member _.Severity: Severity = severity
    /// `shadowed-route`, `unreachable-route`, `duplicate-route`, `never-matching-route`, `never-matching-path`,
    /// `prefix-misses-root`, `wildcard-before-host`, `rewrite-without-effect`, `same-path-from-two-routes`,
    /// `dangling-backend`, `unused-backend`, `overlapping-grpc-prefixes`, `hidden-adhoc-rule`, `hidden-adhoc-port`,
    /// `open-route`, `open-adhoc-rule`, `retry-not-idempotent`, `retries-outlast-request`, `retry-without-alternative`,
    /// `timeout-ends-streams`, `unused-rate-limit`, `limit-key-never-there`, `network-never-allowed`,
    /// `host-without-certificate`, `certificate-unused`, `certificate-expires`, `certificate-key-mismatch`,
    /// `certificate-invalid`, `certificate-unknown`, `weight-zero`, `duplicate-issuer`, `plain-exposed-route`,
    /// `demand-cannot-be-met`, `redirect-loop`.
    member _.Kind: string = kind
    /// Empty for a generated entry.
    member _.File: string = at.File
    /// From 1; 0 for an entry that is in no file. The same holds for the column.
    member _.Line: int = at.Line
    member _.Column: int = at.Column

    /// `$.http.routes[3]`; empty for a file that is not JSON.
    member _.Path: string =
        if at.Line = 0 && at.Path.IsEmpty then
            ""
        else
            JsonPath.render at.Path

    member _.Message: string = message
    /// The requests that prove it, as arguments of `kedge explain`; the first is the simplest. Empty when the finding
    /// is that there is no such request.
    member _.Witnesses: IReadOnlyList<string> = witnesses
    /// What fixes it, in words: a move of a route. Empty when no such move is known.
    member _.Cure: string = cure
    /// What the cure would change, as `kedge diff` reports it.
    member _.CureDifferences: IReadOnlyList<Difference> = cureDifferences
