namespace Kedge.Domain

open System

/// Where a value is. Line and column start at 1, and the column counts characters. Both are 0 when the value is in no
/// file.
type Location =
    {
        File: string
        Line: int
        Column: int
        Path: JsonPath
    }

/// A problem and where it is.
type ConfigError = { At: Location; Problem: Problem }

[<RequireQualifiedAccess>]
module ConfigError =

    /// The kinds whose rule texts begin with the name of the kind.
    let private named =
        [ "attempt-exceeds-request"; "mirror-of-itself"; "rewrite-needs-one-prefix" ]

    /// The kind of finding that `kedge check` reports for it: `unknown-rate-limit`, `issuer-unknown`,
    /// `attempt-exceeds-request`, `mirror-of-itself`, `rewrite-needs-one-prefix`, or `invalid-configuration` for all
    /// others.
    let kind (error: ConfigError) : string =
        match error.Problem with
        | UnknownReference(Problem.RateLimit, _, _) -> "unknown-rate-limit"
        | UnknownReference(Problem.TokenIssuer, _, _) -> "issuer-unknown"
        | Malformed(rule, _) ->
            named
            |> List.tryFind (fun name -> rule.StartsWith(name + ":", StringComparison.Ordinal))
            |> Option.defaultValue "invalid-configuration"
        | _ -> "invalid-configuration"

    /// `file:line:column: $.http.routes[3].host_matcher: what is wrong (what was found)`, always one line. Line and
    /// column are omitted when the value is in no file.
    let describe (error: ConfigError) : string =
        let place =
            if error.At.Line = 0 then
                error.At.File
            else
                $"{error.At.File}:{error.At.Line}:{error.At.Column}"

        $"{place}: {JsonPath.render error.At.Path}: {Problem.describe error.Problem}"
