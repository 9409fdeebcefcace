namespace Kedge.Domain

open System
open System.Collections.Generic

/// A name and port for which the ad-hoc rules of two configurations decide differently. The indexes of the rules are
/// ignored.
type AdhocDifference =
    {
        Host: string
        Ports: AuthorityPorts
        Before: AdhocDecision
        After: AdhocDecision
    }

/// The effect of a change of the ad-hoc rules on the requests that no route takes.
[<RequireQualifiedAccess>]
module AdhocDiff =

    let private withoutIndex (decision: AdhocDecision) =
        match decision with
        | NoRule -> NoRule
        | PortNotAllowed(_, port) -> PortNotAllowed(0, port)
        | PatternAbsent(_, pattern) -> PatternAbsent(0, pattern)
        | NotAName(_, result) -> NotAName(0, result)
        | Target(_, name, port) -> Target(0, name, port)

    /// Names such that every pair of rules that decides for any name decides for one of them (see `TextSpace`); and
    /// each of these names again, prefixed with each pattern of `dns_name_replace`, since a pattern divides the names
    /// of a rule.
    let private names (before: AdhocRule array) (after: AdhocRule array) =
        let all = Array.append before after
        let representatives = AdhocAnalysis.nameSpace all

        let plain =
            [
                for rule in all do
                    yield! representatives (AdhocAnalysis.names rule)

                for old in before do
                    for current in after do
                        match TextCondition.meet (AdhocAnalysis.names old) (AdhocAnalysis.names current) with
                        | Some both -> yield! representatives both
                        | None -> ()
            ]

        let patterns =
            all
            |> Seq.choose (fun rule -> rule.Replace |> Option.map _.Pattern.Trim('.').ToLowerInvariant())
            |> Seq.distinct
            |> Seq.toList

        [
            yield! plain

            for pattern in patterns do
                for name in plain do
                    let name = $"{pattern}.{name}"

                    if HostName.isName (name.AsSpan()) then
                        name
        ]
        |> List.distinct

    let private decider (rules: AdhocRule array) (name: string) =
        AdhocRule.Decider(rules, name) |> Option.map (fun index -> rules[index])

    /// The first difference for each pair of rules that decide; empty when there is none. `isFree` says whether there
    /// is a request with this authority that no route of either configuration takes.
    let rules (isFree: string -> AuthorityPorts -> bool) (before: AdhocRule array) (after: AdhocRule array) =
        let seen = HashSet<struct (AdhocRule option * AdhocRule option)>()

        [
            for name in names before after do
                let old = decider before name
                let current = decider after name

                if old <> current && not (seen.Contains(struct (old, current))) then
                    let ports =
                        Option.toList old @ Option.toList current
                        |> List.collect AdhocAnalysis.borders
                        |> List.filter (fun port -> port >= 1 && port <= 65535)
                        |> List.map (uint16 >> AuthorityPorts.Of)
                        |> List.distinct

                    let difference =
                        AuthorityPorts.Unspecified :: ports
                        |> Seq.map (fun ports ->
                            {
                                Host = name
                                Ports = ports
                                Before = Adhoc.decide before name ports
                                After = Adhoc.decide after name ports
                            })
                        |> Seq.tryFind (fun difference ->
                            withoutIndex difference.Before <> withoutIndex difference.After
                            && isFree difference.Host difference.Ports)

                    match difference with
                    | Some difference ->
                        seen.Add(struct (old, current)) |> ignore
                        difference
                    | None -> ()
        ]
