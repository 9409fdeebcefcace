namespace Kedge.Client.Domain

open System
open Kedge.Domain

/// Which hosts a template may lead to, whatever the caller's host puts into its groups. Without this rule, a crafted
/// host name would send credentials to an attacker's server.
[<RequireQualifiedAccess>]
type HostGuard =
    /// Hosts that end in the suffix, which begins with a dot and has two labels or more.
    | Under of suffix: string
    /// Hosts that one of the patterns matches: a name, or `*.` and a name.
    | Allowed of patterns: string list
    /// Any host, because the configuration says that this is intended.
    | Unchecked

[<RequireQualifiedAccess>]
module internal HostGuard =

    /// Two labels: names under a single label (`.com`) may be anyone's.
    let isSafeSuffix (suffix: string) =
        suffix.StartsWith '.'
        && suffix.IndexOf('.', 1) > 0
        && HostName.isName (suffix.AsSpan 1)

    let patternRule = "must be a host name, or *. and a name of two labels or more"

    let isPattern (pattern: string) =
        if pattern.StartsWith("*.", StringComparison.Ordinal) then
            isSafeSuffix (pattern.Substring 1)
        else
            HostName.isName (pattern.AsSpan())

    let permits (guard: HostGuard) (host: string) =
        let isUnder (suffix: string) = host.Length > suffix.Length && host.EndsWith(suffix, StringComparison.Ordinal)

        match guard with
        | HostGuard.Under suffix -> isUnder suffix
        | HostGuard.Allowed patterns ->
            patterns
            |> List.exists (fun pattern ->
                if pattern.StartsWith("*.", StringComparison.Ordinal) then
                    isUnder (pattern.Substring 1)
                else
                    host = pattern)
        | HostGuard.Unchecked -> true

    let describe (guard: HostGuard) =
        match guard with
        | HostGuard.Under suffix -> $"under {suffix}"
        | HostGuard.Allowed patterns -> "one of " + String.concat ", " patterns
        | HostGuard.Unchecked -> "a host name"

type internal TemplatePart =
    | Text of string
    | Group of string

/// A kedge URL with `${name}` where a pattern's groups go.
[<Sealed>]
type Template internal (text: string, isTls: bool, host: TemplatePart list, port: TemplatePart list) =

    let isGroup (part: TemplatePart) =
        match part with
        | Group _ -> true
        | Text _ -> false

    /// From the first dot after the last group; empty when there is none.
    let suffix =
        match List.tryLast host with
        | Some(Text last) ->
            match last.IndexOf '.' with
            | -1 -> ""
            | dot -> last.Substring dot
        | _ -> ""

    let fill (values: string -> string) (parts: TemplatePart list) =
        parts
        |> List.map (fun part ->
            match part with
            | Text text -> text
            | Group name -> values name)
        |> String.concat ""

    let isHostCharacter (c: char) = Char.IsAsciiLetterLower c || Char.IsAsciiDigit c || c = '.' || c = '-'

    /// As it was written.
    member _.Text = text

    member _.IsTls = isTls

    /// Whether the kedge's host contains a part of the caller's host.
    member _.HostIsOpen = List.exists isGroup host

    /// The end of the host that no group can change; empty when a group is at the end or reaches the last labels.
    member _.Suffix =
        if List.exists isGroup host && HostGuard.isSafeSuffix suffix then
            suffix
        else
            ""

    /// The kedge for these group values, or why there is none.
    member _.Fill(guard: HostGuard, values: string -> string) : Result<KedgeAddress, string> =
        let bad =
            host
            |> List.tryPick (fun part ->
                match part with
                | Group name when values name |> String.forall isHostCharacter |> not -> Some name
                | _ -> None)

        let filled = fill values host
        let filledPort = fill values port

        match bad with
        | Some name ->
            Error $"the group {name} ({Excerpt.quote (values name)}) has characters that no host of a kedge has"
        | None when not (HostName.isName (filled.AsSpan())) -> Error $"{Excerpt.quote filled} is not a host name"
        | None when not (HostGuard.permits guard filled) ->
            Error $"{Excerpt.quote filled} is not {HostGuard.describe guard}"
        | None when filledPort = "" -> Ok(KedgeAddress(isTls, filled, KedgeUrl.defaultPort isTls))
        | None ->
            match
                UInt16.TryParse(filledPort, Globalization.NumberStyles.None, Globalization.CultureInfo.InvariantCulture)
            with
            | true, number when number > 0us -> Ok(KedgeAddress(isTls, filled, int number))
            | _ -> Error $"{Excerpt.quote filledPort} is not a port"

    override _.ToString() = text

/// Reads templates.
[<RequireQualifiedAccess>]
module internal Template =

    /// The parts, or an error for a name that no group has.
    let private parts (groups: string list) (text: string) : Result<TemplatePart list, string> =
        let rec read (at: int) (taken: TemplatePart list) =
            let opening = text.IndexOf("${", at, StringComparison.Ordinal)
            let closing = if opening < 0 then -1 else text.IndexOf('}', opening)

            if closing < 0 then
                Ok(
                    List.rev (
                        if at < text.Length then
                            Text(text.Substring at) :: taken
                        else
                            taken
                    )
                )
            else
                let name = text.Substring(opening + 2, closing - opening - 2)

                if List.contains name groups then
                    let taken =
                        if opening > at then
                            Text(text.Substring(at, opening - at)) :: taken
                        else
                            taken

                    read (closing + 1) (Group name :: taken)
                else
                    let known = if groups.IsEmpty then "none" else String.concat ", " groups
                    Error $"may only name groups of the pattern; ${{{name}}} is none of them (they are: {known})"

        read 0 []

    /// Splits host and port: the port is after the first colon.
    let private splitPort (all: TemplatePart list) =
        let rec split (host: TemplatePart list) (rest: TemplatePart list) =
            match rest with
            | Text text :: rest when text.Contains ':' ->
                let colon = text.IndexOf ':'

                let host =
                    if colon > 0 then
                        Text(text.Substring(0, colon)) :: host
                    else
                        host

                let after = text.Substring(colon + 1)
                List.rev host, (if after = "" then rest else Text after :: rest), true
            | part :: rest -> split (part :: host) rest
            | [] -> List.rev host, [], false

        split [] all

    let private isHostText (text: string) =
        text
        |> String.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '.' || c = '-' || c = '_')

    /// Reads a URL whose host and port may contain groups. The error is the rule that the text breaks.
    let parse (groups: string list) (text: string) : Result<Template, string> =
        match KedgeUrl.split text with
        | ValueNone -> Error KedgeUrl.rule
        | ValueSome(isTls, authority) ->
            match parts groups authority with
            | Error rule -> Error rule
            | Ok all when
                all
                |> List.forall (fun part ->
                    match part with
                    | Text _ -> true
                    | Group _ -> false)
                ->
                KedgeUrl.parse text
                |> Result.map (fun kedge ->
                    Template(text, kedge.IsTls, [ Text kedge.Host ], [ Text(string kedge.Port) ]))
            | Ok all ->
                let host, port, hasPort = splitPort all

                let isSound =
                    not host.IsEmpty
                    && (not hasPort || not port.IsEmpty)
                    && host
                       |> List.forall (fun part ->
                           match part with
                           | Text text -> isHostText text
                           | Group _ -> true)
                    && port
                       |> List.forall (fun part ->
                           match part with
                           | Text text -> String.forall Char.IsAsciiDigit text
                           | Group _ -> true)

                if isSound then
                    let lower =
                        host
                        |> List.map (fun part ->
                            match part with
                            | Text text -> Text(text.ToLowerInvariant())
                            | group -> group)

                    Ok(Template(text, isTls, lower, port))
                else
                    Error KedgeUrl.rule
