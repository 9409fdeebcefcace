namespace Kedge.Domain

open System
open System.Collections.Generic

/// A condition on a text: a request's path, its gRPC method, the value of a header, or an ad-hoc name read backwards.
[<Struct>]
type TextCondition =
    | Exactly of text: string
    | StartingWith of prefix: string

    member rule.Holds(text: string) =
        match rule with
        | Exactly expected -> String.Equals(text, expected, StringComparison.Ordinal)
        | StartingWith prefix -> text.StartsWith(prefix, StringComparison.Ordinal)

[<RequireQualifiedAccess>]
module TextCondition =

    /// The condition that takes what both rules take; None when no text satisfies both.
    let meet a b =
        match a, b with
        | Exactly text, other
        | other, Exactly text -> if other.Holds text then Some(Exactly text) else None
        | StartingWith p, StartingWith q when p.StartsWith(q, StringComparison.Ordinal) -> Some a
        | StartingWith p, StartingWith q when q.StartsWith(p, StringComparison.Ordinal) -> Some b
        | _ -> None

    /// Whether `wide` takes every text that `narrow` takes.
    let covers wide narrow = meet wide narrow = Some narrow

/// The texts that a request may have (`isText`), seen through the rules of a table, whose texts are `mentioned`.
///
/// It picks for each rule the few *representative* texts that decide what a table does with all texts of the rule:
/// for every text t of a rule there is a representative u, also of the rule, such that every mentioned rule that takes
/// u takes t as well. So what no representative escapes, nothing escapes.
///
/// Proof. `Exactly t`: the only text is t. `StartingWith p`: if some text u = p·c·… has a character c such that no
/// mentioned text starts with p·c, then the rules that take u are the prefixes of p, and these take every text of the
/// rule: u alone is enough. Otherwise each text of the rule is p itself or starts with p·c for some c that can follow
/// p, so the representatives of p and of each `StartingWith p·c` together are enough. The recursion ends because it
/// only descends into prefixes of mentioned texts. It requires that the alphabet, including `further`, contains each
/// character that a text can have, and that `endings` contains, for each beginning of a text, an ending that completes
/// it.
[<Sealed>]
type TextSpace(mentioned: string seq, isText: string -> bool, endings: string list, further: char list) =

    // Printable ASCII without the space, the most readable characters first.
    static let printable =
        let all = [ for c in '!' .. '~' -> c ]

        let pleasant = "xyzabcdefghijklmnopqrstuvw0123456789" |> Seq.toList
        pleasant @ List.except pleasant all

    let alphabet = printable @ further

    let sorted = mentioned |> Seq.distinct |> Seq.toArray
    do Array.Sort(sorted, StringComparer.Ordinal)

    let known = Dictionary<string, string list>()

    let isMentioned (start: string) =
        let at = Array.BinarySearch(sorted, start, StringComparer.Ordinal)
        let at = if at < 0 then ~~~at else at

        at < sorted.Length && sorted[at].StartsWith(start, StringComparison.Ordinal)

    let complete (start: string) =
        endings
        |> List.tryPick (fun ending ->
            if isText (start + ending) then
                Some(start + ending)
            else
                None)

    let rec escape (prefix: string) =
        match known.TryGetValue prefix with
        | true, texts -> texts
        | _ ->
            let escaping =
                alphabet
                |> List.tryPick (fun c ->
                    let start = prefix + string c
                    if isMentioned start then None else complete start)

            let texts =
                match escaping with
                | Some text -> [ text ]
                | None ->
                    [
                        if isText prefix then
                            prefix

                        for c in alphabet do
                            let start = prefix + string c

                            if isMentioned start then
                                yield! escape start
                    ]

            known[prefix] <- texts
            texts

    /// Empty when no text satisfies the rule.
    member _.Representatives(rule: TextCondition) : string list =
        match rule with
        | Exactly text -> if isText text then [ text ] else []
        | StartingWith prefix -> escape prefix
