namespace Kedge.Domain

open System

/// Which canonical request paths a route takes; several rules of a route are alternatives.
[<Struct>]
type PathRule =
    | ExactPath of path: string
    /// What stands before the trailing `*`.
    | PathPrefix of prefix: string

    /// `path` is canonical (`RequestPath`). Case counts. Never allocates.
    member rule.Holds(path: ReadOnlySpan<char>) : bool =
        match rule with
        | ExactPath expected -> path.SequenceEqual(expected.AsSpan())
        | PathPrefix prefix -> path.StartsWith(prefix.AsSpan(), StringComparison.Ordinal)

[<RequireQualifiedAccess>]
module PathRule =

    /// Stands for what follows a prefix: not a hexadecimal digit, so that it completes no escape, and not a dot.
    [<Literal>]
    let private Rest = "x"

    /// Reads one of `path_rules`. The rule is kept in canonical form, like the paths that it is compared with: `/%7eann/*`
    /// takes what `/~ann/*` takes. `*` alone takes every path. A `*` elsewhere than at the end is refused, since it looks
    /// like a wildcard; a path that has one is written with `%2A`. The error is the rule that the text breaks.
    let tryParse (text: string) : Result<PathRule, string> =
        let isPrefix = text.EndsWith '*'

        let path =
            if isPrefix then
                text.Substring(0, text.Length - 1)
            else
                text

        if isPrefix && path = "" then
            Ok(PathPrefix "")
        elif path.Contains '*' then
            Error "a path with a `*` at most at its end"
        else
            match RequestPath.canonicalise (if isPrefix then path + Rest else path) with
            | Ok canonical when isPrefix -> Ok(PathPrefix(canonical.Substring(0, canonical.Length - Rest.Length)))
            | Ok canonical -> Ok(ExactPath canonical)
            | Error problem -> Error("a path such as `/api` or `/api/*`; " + problem)
