namespace Kedge.Domain

open System.Collections.Generic

/// How much a finding matters. `kedge check` fails for errors, and with `--strict` also for warnings.
type Severity =
    | Info = 0
    | Warning = 1
    | Error = 2

/// Something that `kedge check` reports about a configuration.
[<Sealed>]
type Finding internal (severity: Severity, kind: string, at: Location, message: string, witnesses: string list) =
    let witnesses = List.toArray witnesses
    member _.Severity: Severity = severity
    /// `shadowed-route`, `unreachable-route`, `duplicate-route`, `never-matching-route`, `never-matching-path`,
    /// `dangling-backend`, `unused-backend`, `overlapping-grpc-prefixes`, `hidden-adhoc-rule`, `hidden-adhoc-port`,
    /// `open-route`, `open-adhoc-rule`.
    member _.Kind: string = kind
    /// Empty for a generated entry.
    member _.File: string = at.File
    /// From 1; 0 for an entry that is in no file. Likewise the column.
    member _.Line: int = at.Line
    member _.Column: int = at.Column
    /// `$.http.routes[3]`
    member _.Path: string = JsonPath.render at.Path
    member _.Message: string = message
    /// The requests that prove it, as arguments of `kedge explain`; the first is the plainest. Empty when the finding
    /// is that there is no such request.
    member _.Witnesses: IReadOnlyList<string> = witnesses
