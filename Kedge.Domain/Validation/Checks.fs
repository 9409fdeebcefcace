namespace Kedge.Domain

open System

/// The violations that validation has found so far. Paths are given with the innermost step first.
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

    /// Reports the rule if the text breaks it.
    member checks.Require(path: Step list, rule: string, found: string, holds: bool) =
        if not holds then
            checks.Malformed(path, rule, found)

    /// The parsed value. If its text breaks a rule, reports the rule and returns the fallback.
    member checks.Parsed(path: Step list, found: string, fallback: 'value, parsed: Result<'value, string>) =
        match parsed with
        | Ok value -> value
        | Error rule ->
            checks.Malformed(path, "must be " + rule, found)
            fallback

    member checks.InRange(path: Step list, range: NumberRange, value: uint32) =
        if not (range.Includes value) then
            checks.Report(path, OutOfRange(string range, string value))

    /// Zero is always allowed: it means the default.
    member checks.DurationInRange(path: Step list, min: TimeSpan, max: TimeSpan, value: TimeSpan) =
        if value <> TimeSpan.Zero && (value < min || value > max) then
            let allowed =
                $"{Duration.Format min} to {Duration.Format max}, or 0 for the default"

            checks.Report(path, OutOfRange(allowed, Excerpt.quote (Duration.Format value)))

    /// Reports every name that an earlier entry already has. Empty names are reported as missing elsewhere.
    member checks.Unique(list: Step list, nameField: string, names: string seq) =
        let first = Collections.Generic.Dictionary<string, int>()

        names
        |> Seq.iteri (fun i name ->
            if name <> "" && not (first.TryAdd(name, i)) then
                let original = List.rev (Step.Index first[name] :: list)
                checks.Report(Field nameField :: Step.Index i :: list, DuplicateName(name, original)))
