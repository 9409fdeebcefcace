namespace Kedge.Client.Domain

open System
open Kedge.Domain

/// Maps hosts of one shape to kedges of another: with the pattern `*.*.clusters.local` and the suffix
/// `.clusters.example.com`, the host `svc.ns.us1.prod.clusters.local` leads to `us1.prod.clusters.example.com`. Labels
/// are compared from the right; the labels that a `*` stands for are copied in order, and further labels on the left
/// are ignored.
[<Sealed>]
type SuffixRule internal (pattern: string, suffix: string, isTls: bool, port: int) =

    let labels = pattern.ToLowerInvariant().Split '.'

    /// `*.*.clusters.local`
    member _.Pattern = pattern

    /// `.clusters.example.com`
    member _.Suffix = suffix

    member _.IsTls = isTls
    member _.Port = port

    /// The labels that the stars stand for; none when the host has another shape.
    member private _.Copied(host: string) : string array voption =
        let given = host.Split '.'
        let skipped = given.Length - labels.Length

        if
            skipped >= 0
            && Array.forall2 (fun label other -> label = "*" || label = other) labels given[skipped..]
        then
            Array.zip labels given[skipped..]
            |> Array.filter (fun (label, _) -> label = "*")
            |> Array.map snd
            |> ValueSome
        else
            ValueNone

    member rule.IsMatch(host: string) : bool = (rule.Copied host).IsSome

    /// The kedge for a host that matches.
    member rule.Fill(host: string) : Result<KedgeAddress, string> =
        match rule.Copied host with
        | ValueNone -> Error "the host has another shape"
        | ValueSome copied ->
            let kedge = String.concat "." copied + suffix.ToLowerInvariant()

            let isPlain (label: string) =
                label
                |> String.forall (fun c -> Char.IsAsciiLetterLower c || Char.IsAsciiDigit c || c = '-')

            if Array.forall isPlain copied && HostName.isName (kedge.AsSpan()) then
                Ok(KedgeAddress(isTls, kedge, port))
            else
                Error $"{Excerpt.quote kedge} is not a host name"

    /// The source text of a JavaScript regular expression that matches the same hosts.
    member _.JavaScript: string =
        let label (text: string) =
            if text = "*" then
                "[^.]+"
            else
                Text.RegularExpressions.Regex.Escape(text).Replace("-", "\\-")

        "(?:^|\\.)" + String.concat "\\." (Array.map label labels) + "$"

[<RequireQualifiedAccess>]
module internal SuffixRule =

    let patternRule =
        "must begin with *. and have labels that are * or letters, digits, - and _"

    let isPattern (pattern: string) =
        pattern.StartsWith("*.", StringComparison.Ordinal)
        && pattern.Split '.'
           |> Array.forall (fun label -> label = "*" || HostName.isLabels (label.AsSpan()))

    let suffixRule = "must begin with a dot and have two labels or more"

    let problem (pattern: string) (suffix: string) (scheme: string) (port: int) : string option =
        if not (isPattern pattern) then
            Some $"the pattern {patternRule} ({pattern})"
        elif not (HostGuard.isSafeSuffix suffix) then
            Some $"the suffix {suffixRule} ({suffix})"
        elif scheme <> "https" && scheme <> "http" then
            Some $"the scheme must be https or http ({scheme})"
        elif port < 0 || port > 65535 then
            Some $"the port must be 1 to 65535 ({port})"
        else
            None

type SuffixRule with

    /// Creates a rule from code. False, with the reason, when the texts break a rule.
    /// <param name="port">0 = 443 or 80.</param>
    static member TryCreate
        (
            pattern: string,
            suffix: string,
            scheme: string,
            port: int,
            [<Runtime.InteropServices.Out; Diagnostics.CodeAnalysis.NotNullWhen true>] rule: byref<SuffixRule | null>,
            [<Runtime.InteropServices.Out; Diagnostics.CodeAnalysis.NotNullWhen false>] problem: byref<string | null>
        ) : bool =
        match SuffixRule.problem pattern suffix scheme port with
        | Some found ->
            rule <- null
            problem <- found
            false
        | None ->
            problem <- null
            let isTls = scheme = "https"
            rule <- SuffixRule(pattern, suffix, isTls, (if port = 0 then KedgeUrl.defaultPort isTls else port))
            true
