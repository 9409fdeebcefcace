namespace Kedge.Domain

open System

/// Something about an ad-hoc rule that its author should know. Indexes are places in the list of rules.
type AdhocFinding =
    /// Earlier rules decide for every name that this one takes: `name` is one of them, `earlier` the rule that decides
    /// for it.
    | HiddenRule of rule: int * earlier: int * name: string
    /// The rule allows this port for a name for which an earlier rule, which does not, decides.
    | HiddenPort of rule: int * earlier: int * name: string * port: uint16

/// What is wrong with ad-hoc rules, or likely to surprise. No route is looked at: the findings hold for the requests
/// that no route takes.
[<RequireQualifiedAccess>]
module AdhocAnalysis =

    // Names are read backwards, so that a suffix is a prefix for `TextSpace`.
    let private backwards (text: string) =
        let characters = text.ToCharArray()
        Array.Reverse characters
        String characters

    let private isBackwardName (text: string) =
        let name = backwards text
        HostName.isName (name.AsSpan()) || HostName.isIPv6 (name.AsSpan())

    /// The names that a rule takes.
    let names (rule: AdhocRule) : TextCondition =
        match rule.Name with
        | ExactName name -> Exactly(backwards (name.ToLowerInvariant()))
        | NameSuffix suffix -> StartingWith(backwards (suffix.ToLowerInvariant()))

    /// Representative names of these rules.
    let nameSpace (rules: AdhocRule seq) : TextCondition -> string list =
        let mentioned =
            rules
            |> Seq.map (fun rule ->
                match names rule with
                | Exactly text
                | StartingWith text -> text)

        // The last ending makes a name of the end of an IPv6 address.
        let space = TextSpace(mentioned, isBackwardName, [ ""; "x"; "::" ])

        fun rule -> space.Representatives rule |> List.map backwards

    let private isAllowed (rule: AdhocRule) (port: uint16) =
        Array.contains port rule.AllowedPorts
        || rule.AllowedRanges
           |> Array.exists (fun (struct (first, last)) -> first <= port && port <= last)

    /// Where the ports that the rule allows begin and end: every set that is made of such sets by union and difference
    /// has an element among these of the sets it is made of.
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
        |> List.tryFind (fun port -> isAllowed rule port && not (isAllowed earlier port))

    let private decider (rules: AdhocRule array) (name: string) =
        rules |> Array.findIndex (fun rule -> rule.Name.Holds(name.AsSpan()))

    /// Rules that never decide, and ports that a rule allows in vain because an earlier one decides.
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
