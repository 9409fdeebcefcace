namespace Kedge.Domain

open System

/// What the path of a request becomes before it is forwarded, with the semantics of Gateway API's `HTTPPathModifier`.
type PathRewrite =
    /// What comes before the rest of the path is replaced. Both are canonical paths without a `/` at the end, so that
    /// the root is empty.
    | ReplacePrefix of prefix: string * replacement: string
    | ReplaceFull of path: string

    /// What follows `start` in the path: nothing, or a `/` and more. None when the path is not below it.
    static member private RestAfter(start: string, path: string) : string voption =
        if
            path.StartsWith(start, StringComparison.Ordinal)
            && (path.Length = start.Length || path[start.Length] = '/')
        then
            ValueSome(path.Substring start.Length)
        else
            ValueNone

    /// The path that is forwarded. `path` is canonical, and so is the result. The path `*` of `OPTIONS *` stays.
    member rewrite.Forth(path: string) : string =
        match rewrite with
        | _ when path = "*" -> path
        | ReplaceFull full -> full
        | ReplacePrefix(prefix, replacement) ->
            match PathRewrite.RestAfter(prefix, path) with
            | ValueSome "" when replacement = "" -> "/"
            | ValueSome rest -> replacement + rest
            | ValueNone -> path

    /// The path under which a caller reaches the canonical path of a backend; none when no caller does, or when several
    /// paths lead there. Of `/a` and `/a/`, which both become `/` when the prefix is removed, it is `/a/`.
    member rewrite.Back(path: string) : string voption =
        match rewrite with
        | ReplaceFull _ -> ValueNone
        | ReplacePrefix(prefix, replacement) ->
            match PathRewrite.RestAfter(replacement, path) with
            | ValueSome "" when prefix = "" -> ValueSome "/"
            | ValueSome rest -> ValueSome(prefix + rest)
            | ValueNone -> ValueNone

    /// Whether it leaves every path as it is that routes with these rules take.
    member rewrite.HasNoEffectOn(rules: PathRule array) : bool =
        match rewrite with
        | ReplacePrefix(prefix, replacement) -> prefix = replacement
        | ReplaceFull full -> rules = [| ExactPath full |]

[<RequireQualifiedAccess>]
module PathRewrite =

    /// The path that the rule `/x/**` or `/x/*` names, without a `/` at its end; none for other rules.
    let prefixOf (rule: PathRule) : string voption =
        match rule with
        | PathTree root -> ValueSome root
        | PathPrefix "" -> ValueSome ""
        | PathPrefix prefix when prefix.EndsWith '/' -> ValueSome(prefix.Substring(0, prefix.Length - 1))
        | PathPrefix _
        | ExactPath _ -> ValueNone

    let private canonical (text: string) : Result<string, string> =
        if text.Contains '*' then
            Error "a path without a `*`: what follows the prefix is kept as it is"
        else
            match RequestPath.canonicalise text with
            | Ok canonical when canonical = text -> Ok text
            | Ok canonical -> Error $"a canonical path; write `{canonical}`"
            | Error problem -> Error("a path such as `/v1`; " + problem)

    /// Reads `replace_prefix`, perhaps with a `/` at its end; empty = the prefix is removed. The error is the rule that
    /// the text breaks.
    let tryParseReplacement (text: string) : Result<string, string> =
        if text = "" then
            Ok ""
        else
            canonical text |> Result.map (fun path -> path.TrimEnd '/')

    /// Reads `replace_full`. The error is the rule that the text breaks.
    let tryParseFull (text: string) : Result<string, string> = canonical text
