namespace Kedge.Domain

open System

/// Something about an ad-hoc rule that its author should know. Indexes are those of the list of rules.
type AdhocFinding =
    /// Earlier rules decide for every name that this one matches: `name` is one of them, and `earlier` decides for it.
    | HiddenRule of rule: int * earlier: int * name: string
    /// The rule allows this port, but an earlier rule, which does not allow it, decides for this name.
    | HiddenPort of rule: int * earlier: int * name: string * port: uint16

/// What is wrong with ad-hoc rules, or likely to surprise. Routes do not matter here: the findings concern the requests
/// that no route takes.
[<RequireQualifiedAccess>]
module AdhocAnalysis =

    // Names are reversed, so that a suffix becomes a prefix for `TextSpace`.
    let private backwards (text: string) =
        let characters = text.ToCharArray()
        Array.Reverse characters
        String characters

    let private isBackwardName (text: string) =
        let name = backwards text
        HostName.isHost (name.AsSpan()) && HostName.canonical name = name

    /// The names that a rule matches, reversed.
    let names (rule: AdhocRule) : TextCondition =
        match rule.Name with
        | ExactName name -> Exactly(backwards (name.ToLowerInvariant()))
        | NameSuffix suffix -> StartingWith(backwards (suffix.ToLowerInvariant()))

    /// Representative names for these rules.
    let nameSpace (rules: AdhocRule seq) : TextCondition -> string list =
        let mentioned =
            rules
            |> Seq.map (fun rule ->
                match names rule with
                | Exactly text
                | StartingWith text -> text)

        let space = TextSpace(mentioned, isBackwardName, [ ""; "x" ], [])

        fun rule -> space.Representatives rule |> List.map backwards

    /// Where the ranges of allowed ports start, and the ports after their ends: every non-empty set formed from such
    /// sets of ports by union and difference contains one of the borders of these sets.
    let borders (rule: AdhocRule) : int list =
        [
            for port in rule.AllowedPorts do
                int port
                int port + 1

            for struct (first, last) in rule.AllowedRanges do
                int first
                int last + 1
        ]

    let private hiddenPort (earlier: AdhocRule) (rule: AdhocRule) =
        borders earlier @ borders rule
        |> List.filter (fun port -> port >= 1 && port <= 65535)
        |> List.map uint16
        |> List.sort
        |> List.tryFind (fun port -> rule.Allows port && not (earlier.Allows port))

    /// The rule that decides. Call it only for names that one of the rules matches, so that there is one.
    let private decider (rules: AdhocRule array) (name: string) =
        AdhocRule.Decider(rules, name) |> Option.defaultValue rules.Length

    /// Rules that never decide, and ports that a rule allows without effect because an earlier rule decides.
    let findings (rules: AdhocRule array) : AdhocFinding list =
        let representatives = nameSpace rules

        [
            for rule in 0 .. rules.Length - 1 do
                let own = representatives (names rules[rule])

                if not own.IsEmpty && own |> List.forall (fun name -> decider rules name < rule) then
                    HiddenRule(rule, decider rules own.Head, own.Head)
                else
                    for earlier in 0 .. rule - 1 do
                        let name =
                            TextCondition.meet (names rules[earlier]) (names rules[rule])
                            |> Option.bind (fun both ->
                                representatives both |> List.tryFind (fun name -> decider rules name = earlier))

                        match name with
                        | None -> ()
                        | Some name ->
                            match hiddenPort rules[earlier] rules[rule] with
                            | Some port -> HiddenPort(rule, earlier, name, port)
                            | None -> ()
        ]
