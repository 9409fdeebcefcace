namespace Kedge.Domain

open System

/// What validation found so far. Paths are handed in with the innermost step first.
[<Sealed>]
type internal Checks() =
    let violations = ResizeArray<Violation>()

    member _.Violations = List.ofSeq violations

    member _.Report(path: Step list, problem: Problem) =
        violations.Add
            {
                Path = List.rev path
                Problem = problem
            }

    member checks.Malformed(path: Step list, rule: string, found: string) =
        checks.Report(path, Malformed(rule, Excerpt.quote found))

    /// Reports the rule when the text breaks it.
    member checks.Holds(path: Step list, rule: string, found: string, holds: bool) =
        if not holds then
            checks.Malformed(path, rule, found)

    /// A parsed value. Reports the rule that its text breaks; the fallback then stands for it.
    member checks.Parsed(path: Step list, found: string, fallback: 'value, parsed: Result<'value, string>) =
        match parsed with
        | Ok value -> value
        | Error rule ->
            checks.Malformed(path, "must be " + rule, found)
            fallback

    member checks.InRange(path: Step list, least: uint32, most: uint32, value: uint32) =
        if value < least || value > most then
            checks.Report(path, OutOfRange($"{least} to {most}", string value))

    member checks.Durations(path: Step list, least: TimeSpan, most: TimeSpan, value: TimeSpan) =
        if value <> TimeSpan.Zero && (value < least || value > most) then
            let allowed =
                $"{Scalar.renderDuration least} to {Scalar.renderDuration most}, or 0 for the default"

            checks.Report(path, OutOfRange(allowed, Excerpt.quote (Scalar.renderDuration value)))

    /// Reports every name that an earlier entry has. Empty names are reported as missing elsewhere.
    member checks.Unique(list: Step list, nameField: string, names: string seq) =
        let first = Collections.Generic.Dictionary<string, int>()

        names
        |> Seq.iteri (fun i name ->
            if name <> "" && not (first.TryAdd(name, i)) then
                let original = List.rev (Step.Index first[name] :: list)
                checks.Report(Field nameField :: Step.Index i :: list, DuplicateName(name, original)))

/// The rules for names, as SPEC section 2 has them.
[<RequireQualifiedAccess>]
module internal NameRule =

    let backend = "must be 2 to 253 characters of a-z, 0-9, `_`, `.`, `-`"

    let isBackend (name: string) =
        name.Length >= 2
        && name.Length <= 253
        && name
           |> String.forall (fun c ->
               Char.IsAsciiLetterLower c
               || Char.IsAsciiDigit c
               || c = '_'
               || c = '.'
               || c = '-')

    let tlsConfig = "must be 2 to 64 characters of a-z, `_`, `.`"

    let isTlsConfig (name: string) =
        name.Length >= 2
        && name.Length <= 64
        && name |> String.forall (fun c -> Char.IsAsciiLetterLower c || c = '_' || c = '.')

    let withoutBrackets (host: string) =
        if host.Length > 2 && host.StartsWith '[' && host.EndsWith ']' then
            host.Substring(1, host.Length - 2)
        else
            host

    /// A DNS name (a trailing dot may make it absolute) or an IP address.
    let isHost (host: string) =
        HostName.isName (HostName.withoutTrailingDot (host.AsSpan()))
        || HostName.isIPv6 ((withoutBrackets host).AsSpan())

    let isDnsName (name: string) =
        HostName.isName (HostName.withoutTrailingDot (name.AsSpan()))
        && not (Net.IPAddress.TryParse name |> fst)

    let isPlainText (text: string) =
        text <> ""
        && not (text |> String.exists (fun c -> Char.IsControl c || Char.IsWhiteSpace c))
