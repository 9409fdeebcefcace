module Kedge.PropertyTests.AdhocAnalysisLaws

open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.TableGenerators

let private rule: FsCheck.Gen<AdhocRule> =
    gen {
        let! name =
            Gen.elements
                [
                    ExactName "a.pod"
                    ExactName "b.a.pod"
                    NameSuffix ".pod"
                    NameSuffix ".a.pod"
                    NameSuffix "pod"
                    NameSuffix ""
                ]

        let! defaultPort = Gen.elements [ 0us; 9us ]
        let! allowed = Gen.subListOf [ 9us; 10us; 80us ]

        let! ranges =
            Gen.elements
                [
                    []
                    [ struct (8us, 10us) ]
                    [ struct (10us, 90us) ]
                    [ struct (8us, 10us); struct (80us, 90us) ]
                    [ struct (8us, 90us) ]
                    [ struct (1us, 65535us) ]
                ]

        let! replace =
            Gen.frequency
                [
                    3, Gen.constant None
                    1, Gen.constant (Some({ Pattern = "a."; Substitution = "c." }: Decoded.DnsNameReplace))
                ]

        return
            {
                Name = name
                DefaultPort = defaultPort
                AllowedPorts = List.toArray allowed
                AllowedRanges = List.toArray ranges
                Replace = replace
                Authorization = None
            }
    }

let private rules =
    Gen.choose (0, 4) |> Gen.bind (fun count -> Gen.arrayOfLength count rule)

/// Every name and port that the rules above can tell apart.
let private universe =
    [
        for name in
            [
                "a.pod"
                "b.a.pod"
                "z.a.pod"
                "z.pod"
                "zpod"
                "pod"
                "z"
                "a.z"
                "a.z.pod"
                "a.zpod"
                "a.b.a.pod"
            ] do
            for port in [ 7; 8; 9; 10; 11; 79; 80; 81; 90; 91 ] do
                name, AuthorityPorts.Of(uint16 port)

            name, AuthorityPorts.Unspecified
    ]

let private ruleOf decision =
    match decision with
    | NoRule -> None
    | PortNotAllowed(rule, _)
    | PatternAbsent(rule, _)
    | NotAName(rule, _)
    | Target(rule, _, _) -> Some rule

let private withoutPlace decision =
    match decision with
    | NoRule -> NoRule
    | PortNotAllowed(_, port) -> PortNotAllowed(0, port)
    | PatternAbsent(_, pattern) -> PatternAbsent(0, pattern)
    | NotAName(_, result) -> NotAName(0, result)
    | Target(_, name, port) -> Target(0, name, port)

let private isRefused decision =
    match decision with
    | PortNotAllowed _ -> true
    | _ -> false

[<Tests>]
let tests =
    testList
        "analysis of ad-hoc rules"
        [
            law
                "a rule is called hidden exactly when it decides for no name"
                rules
                30
                (fun rules -> AdhocAnalysis.findings rules |> List.exists _.IsHiddenRule)
                (fun rules ->
                    let reported =
                        AdhocAnalysis.findings rules
                        |> List.choose (fun finding ->
                            match finding with
                            | HiddenRule(rule, earlier, name) ->
                                Expect.equal
                                    (ruleOf (Adhoc.decide rules name AuthorityPorts.Unspecified))
                                    (Some earlier)
                                    "the witness"

                                Some rule
                            | HiddenPort _ -> None)

                    let decides =
                        universe
                        |> List.choose (fun (name, ports) -> ruleOf (Adhoc.decide rules name ports))
                        |> Set.ofList

                    let expected = [ 0 .. rules.Length - 1 ] |> List.filter (decides.Contains >> not)

                    Expect.equal reported expected "")

            law
                "a port is called hidden exactly when an earlier rule refuses it that decides for a name of both"
                rules
                30
                (fun rules -> AdhocAnalysis.findings rules |> List.exists _.IsHiddenPort)
                (fun rules ->
                    let findings = AdhocAnalysis.findings rules

                    let hidden =
                        findings
                        |> List.choose (fun finding ->
                            match finding with
                            | HiddenRule(rule, _, _) -> Some rule
                            | HiddenPort(rule, earlier, name, port) ->
                                let ports = AuthorityPorts.Of port
                                Expect.equal (Adhoc.decide rules name ports) (PortNotAllowed(earlier, port)) "refused"
                                let alone = Adhoc.decide [| rules[rule] |] name ports
                                Expect.isFalse (alone = NoRule || isRefused alone) "allowed by the later one"
                                None)

                    for rule in 0 .. rules.Length - 1 do
                        for earlier in 0 .. rule - 1 do
                            let expected =
                                not (List.contains rule hidden)
                                && universe
                                   |> List.exists (fun (name, ports) ->
                                       ports.Explicit <> 0us
                                       && Adhoc.decide rules name ports = PortNotAllowed(earlier, ports.Explicit)
                                       && (let alone = Adhoc.decide [| rules[rule] |] name ports
                                           alone <> NoRule && not (isRefused alone)))

                            let reported =
                                findings
                                |> List.exists (fun finding ->
                                    match finding with
                                    | HiddenPort(r, e, _, _) -> (r, e) = (rule, earlier)
                                    | HiddenRule _ -> false)

                            Expect.equal reported expected $"{earlier} hides a port of {rule}")

            law
                "each difference is real, and there is none exactly when the universe has none"
                (gen {
                    let! before = rules
                    let! after = rules

                    return
                        Array.append
                            (Array.map (fun rule -> struct (true, rule)) before)
                            (Array.map (fun rule -> struct (false, rule)) after)
                })
                60
                (fun both -> both.Length > 2)
                (fun both ->
                    let side old =
                        both
                        |> Array.choose (fun (struct (isOld, rule)) -> if isOld = old then Some rule else None)

                    let before, after = side true, side false
                    let differences = AdhocDiff.rules (fun _ _ -> true) before after

                    for difference in differences do
                        Expect.equal difference.Before (Adhoc.decide before difference.Host difference.Ports) ""
                        Expect.equal difference.After (Adhoc.decide after difference.Host difference.Ports) ""
                        Expect.notEqual (withoutPlace difference.Before) (withoutPlace difference.After) ""

                    let moved =
                        universe
                        |> List.exists (fun (name, ports) ->
                            withoutPlace (Adhoc.decide before name ports)
                            <> withoutPlace (Adhoc.decide after name ports))

                    Expect.equal (not differences.IsEmpty) moved "")
        ]
