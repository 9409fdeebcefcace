namespace Kedge.Client.Domain

open System
open Kedge.Domain

/// Leads hosts of one shape to kedges of another: with the pattern `*.*.clusters.local` and the suffix
/// `.clusters.example.com`, the host `svc.ns.us1.prod.clusters.local` leads to `us1.prod.clusters.example.com`. Labels
/// are compared from the right, those that a `*` stands for are copied in their order, and further labels on the left
/// do not matter.
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
           |> Array.forall (fun label -> label = "*" || (label <> "" && HostName.isName (label.AsSpan())))

    let suffixRule = "must begin with a dot and have two labels or more"
