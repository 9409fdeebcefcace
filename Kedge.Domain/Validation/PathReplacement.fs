namespace Kedge.Domain

open System

/// How a request's path changes: Gateway API's `HTTPPathModifier`.
type PathReplacement =
    /// Every path becomes this one, which is canonical.
    | WholePath of path: string
    /// The start of the path, which the route's only path rule names, becomes another text. Both are canonical, without
    /// the last `/`, and empty for the root.
    | PathStart of prefix: string * replacement: string

    /// The new path. `path` must be canonical; then so is the new one. `PathStart` does not change a path without the
    /// prefix, nor `*`, the path of `OPTIONS *`.
    member change.Of(path: string) : string =
        match change with
        | WholePath whole -> whole
        | PathStart(prefix, _) when not (path.StartsWith(prefix + "/", StringComparison.Ordinal)) && path <> prefix ->
            path
        | PathStart(prefix, replacement) ->
            match replacement + path.Substring prefix.Length with
            | "" -> "/"
            | changed -> changed

    /// The path by which a caller reaches this canonical path of a backend; none when no path leads there, or several
    /// do. Of `/a` and `/a/`, which both become `/` when the prefix is removed, it is `/a/`.
    member change.Back(path: string) : string voption =
        match change with
        | WholePath _ -> ValueNone
        | PathStart(_, replacement) when
            path <> replacement
            && not (path.StartsWith(replacement + "/", StringComparison.Ordinal))
            ->
            ValueNone
        | PathStart(prefix, replacement) ->
            match prefix + path.Substring replacement.Length with
            | "" -> ValueSome "/"
            | known -> ValueSome known

    /// Whether it leaves every path unchanged that a route with these rules matches. `rules` are alternatives.
    member change.HasNoEffectOn(rules: PathRule array) : bool =
        match change with
        | WholePath whole -> rules.Length > 0 && rules |> Array.forall (fun rule -> rule = ExactPath whole)
        | PathStart(prefix, replacement) -> prefix = replacement

[<RequireQualifiedAccess>]
module PathReplacement =

    /// The rule for both texts.
    let private rule = "must be a path in its canonical form, such as `/new`"

    let private isCanonical (path: string) =
        match RequestPath.canonicalise path with
        | Ok canonical ->
            canonical = path
            && path <> "*"
            && not (RequestPath.hasParameters (path.AsSpan()))
        | Error _ -> false

    /// The text before the open end of a rule, without its last `/`; none for a rule that is not a prefix of whole
    /// segments.
    let private prefixOf (pathRule: PathRule) : string voption =
        match pathRule with
        | PathTree root -> ValueSome root
        | PathPrefix "" -> ValueSome ""
        | PathPrefix prefix when prefix.EndsWith '/' -> ValueSome(prefix.Substring(0, prefix.Length - 1))
        | PathPrefix _
        | ExactPath _ -> ValueNone

    /// The replacement that a route with these path rules asks for. `path` is the path of the object that contains the
    /// fields.
    let internal validate (checks: Checks) (path: Step list) (rules: PathRule array) (change: Decoded.PathChange) =
        match change with
        | Decoded.ReplaceFull whole ->
            checks.Require(Field "replace_full" :: path, rule, whole, isCanonical whole)
            WholePath whole
        | Decoded.ReplacePrefix replacement ->
            let at = Field "replace_prefix" :: path

            let trimmed =
                if replacement.EndsWith '/' then
                    replacement.Substring(0, replacement.Length - 1)
                else
                    replacement

            checks.Require(at, rule + ", or empty", replacement, trimmed = "" || isCanonical trimmed)

            match Array.map prefixOf rules with
            | [| ValueSome prefix |] -> PathStart(prefix, trimmed)
            | _ ->
                let found = rules |> Seq.map _.Text |> String.concat ", "

                checks.Report(
                    at,
                    Malformed(
                        "rewrite-needs-one-prefix: needs exactly one path rule, a prefix such as `/api/**`",
                        if found = "" then "no path rule" else found
                    )
                )

                PathStart("", trimmed)
