namespace Kedge.Domain

open System

/// The canonical request paths that a route matches; the rules of a route are alternatives.
[<Struct>]
type PathRule =
    | ExactPath of path: string
    /// The path itself and everything below it, by whole segments. Without a trailing `/`, and never empty.
    | PathTree of root: string
    /// The text before the trailing `*`.
    | PathPrefix of prefix: string

    /// `path` is canonical (`RequestPath`). Case-sensitive. Never allocates.
    member rule.Holds(path: ReadOnlySpan<char>) : bool =
        match rule with
        | ExactPath expected -> path.SequenceEqual(expected.AsSpan())
        | PathTree root ->
            path.StartsWith(root.AsSpan(), StringComparison.Ordinal)
            && (path.Length = root.Length || path[root.Length] = '/')
        | PathPrefix prefix -> path.StartsWith(prefix.AsSpan(), StringComparison.Ordinal)

    member rule.Text =
        match rule with
        | ExactPath path -> path
        | PathTree root -> root + "/**"
        | PathPrefix prefix -> prefix + "*"

[<RequireQualifiedAccess>]
module PathRule =

    /// Why no alternative matches the path; none when one does, or when there are no alternatives.
    let mismatch (rules: PathRule array) (path: string) : Mismatch voption =
        if
            rules.Length = 0
            || rules |> Array.exists (fun rule -> rule.Holds(path.AsSpan()))
        then
            ValueNone
        else
            Mismatch.unless false "path" (rules |> Seq.map _.Text |> String.concat " or ") path

    /// Stands for whatever may follow a prefix. Not a hexadecimal digit, so that it cannot complete an escape, and not
    /// a dot.
    [<Literal>]
    let private Rest = "x"

    let private tooManyStars: Result<PathRule, string> =
        Error "a path without a `*` except at its end (`/api/*` or `/api/**`)"

    let private parameters: Result<PathRule, string> =
        Error "a path without `;`, since path parameters must not decide which route takes a request"

    /// `/api/**`. The root of all paths yields the prefix that matches every path, not a tree.
    let private tryParseTree (root: string) : Result<PathRule, string> =
        if root.Contains '*' then
            tooManyStars
        else
            match RequestPath.canonicalise (root + "/" + Rest) with
            | Ok canonical when RequestPath.hasParameters (canonical.AsSpan()) -> parameters
            | Ok canonical ->
                match canonical.Substring(0, canonical.Length - Rest.Length - 1) with
                | "" -> Ok(PathPrefix "")
                | root -> Ok(PathTree root)
            | Error problem -> Error("a path such as `/api` or `/api/**`; " + problem)

    let private tryParsePlain (text: string) : Result<PathRule, string> =
        let isPrefix = text.EndsWith '*'

        let path =
            if isPrefix then
                text.Substring(0, text.Length - 1)
            else
                text

        if isPrefix && path = "" then
            Ok(PathPrefix "")
        elif path.Contains '*' then
            tooManyStars
        else
            match RequestPath.canonicalise (if isPrefix then path + Rest else path) with
            | Ok canonical when RequestPath.hasParameters (canonical.AsSpan()) -> parameters
            | Ok canonical when isPrefix -> Ok(PathPrefix(canonical.Substring(0, canonical.Length - Rest.Length)))
            | Ok canonical -> Ok(ExactPath canonical)
            | Error problem -> Error("a path such as `/api` or `/api/*`; " + problem)

    /// Reads an entry of `path_rules`. The rule is stored in canonical form, like the paths that it is compared with:
    /// `/%7eann/*` matches what `/~ann/*` matches. `*` alone matches every path, and so does `/**`. A `*` anywhere but
    /// at the end is rejected, since it looks like a wildcard; write `%2A` for a path that contains one. Path
    /// parameters (`;`) are rejected: a request must match the same rule with and without them. The error is the rule
    /// that the text breaks.
    let tryParse (text: string) : Result<PathRule, string> =
        if text.EndsWith("/**", StringComparison.Ordinal) then
            tryParseTree (text.Substring(0, text.Length - 3))
        else
            tryParsePlain text
