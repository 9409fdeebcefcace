namespace Kedge.Client.Domain

open System
open System.Text.RegularExpressions

/// Reads RE2's syntax (https://github.com/google/re2/wiki/Syntax), as far as other dialects can express it.
[<Sealed>]
type internal PatternParser(text: string) =

    // Deeper nesting or larger repetition would cost more memory than matching a host is worth.
    let deepest = 100
    let largest = 10_000L

    let names = ResizeArray<string>()
    let reader = PatternReader text

    let fault (place: int) (detail: string) = raise (PatternError { At = place + 1; Detail = detail })

    let flags (start: int) (letters: string) =
        let on, off =
            match letters.IndexOf '-' with
            | -1 -> letters, ""
            | dash -> letters.Substring(0, dash), letters.Substring(dash + 1)

        for letter in on + off do
            match letter with
            | 'i'
            // A host has one line, so these two make no difference.
            | 'm'
            | 's' -> ()
            | 'U' -> fault start "the flag U is not available here: write ? behind the repetition"
            | other -> fault start $"{other} is not a flag"

        if on.Contains 'i' then
            reader.IgnoreCase <- true

        if off.Contains 'i' then
            reader.IgnoreCase <- false

    let rec choice (depth: int) : Node =
        if depth > deepest then
            fault reader.At $"the groups are nested deeper than {deepest} levels"

        let branches = ResizeArray [ sequence depth ]

        while reader.LooksAt('|') do
            reader.Skip 1
            branches.Add(sequence depth)

        if branches.Count = 1 then
            branches[0]
        else
            Choice(List.ofSeq branches)

    and sequence (depth: int) : Node =
        let items = ResizeArray<Node>()

        while not (reader.IsAtEnd || reader.LooksAt('|') || reader.LooksAt(')')) do
            items.Add(repeated (item depth))

        match List.ofSeq items with
        | [] -> Nothing
        | [ one ] -> one
        | many -> Sequence many

    and repeated (node: Node) : Node =
        let place = reader.At

        let operator =
            if reader.IsAtEnd then
                ValueNone
            else
                match reader.Current with
                | '*' ->
                    reader.Skip 1
                    ValueSome(struct (0, -1))
                | '+' ->
                    reader.Skip 1
                    ValueSome(struct (1, -1))
                | '?' ->
                    reader.Skip 1
                    ValueSome(struct (0, 1))
                | '{' -> reader.Counted()
                | _ -> ValueNone

        match operator with
        | ValueNone -> node
        | ValueSome(least, most) ->
            let isLazy = reader.LooksAt('?')

            if isLazy then
                reader.Skip 1

            if
                not (reader.IsAtEnd)
                && (reader.Current = '*' || reader.Current = '+' || reader.Current = '?')
            then
                fault place "one repetition follows another"

            repeated (Repeat(node, least, most, isLazy))

    and item (depth: int) : Node =
        let start = reader.At

        match reader.Current with
        | '(' -> group depth
        | '[' -> reader.Bracketed()
        | '.' ->
            reader.Skip 1
            AnyChar
        | '^' ->
            reader.Skip 1
            Start
        | '$' ->
            reader.Skip 1
            End
        | '*'
        | '+'
        | '?' -> fault start "there is nothing to repeat"
        | '{' when reader.Counted().IsSome -> fault start "there is nothing to repeat"
        | '\\' ->
            reader.Skip 1

            match reader.ClassEscape() with
            | ValueSome ranges ->
                reader.Skip 1
                Chars(false, ranges)
            | ValueNone ->
                match (if reader.IsAtEnd then ' ' else reader.Current) with
                | 'A' ->
                    reader.Skip 1
                    Start
                | 'z' ->
                    reader.Skip 1
                    End
                | 'b' ->
                    reader.Skip 1
                    Boundary false
                | 'B' ->
                    reader.Skip 1
                    Boundary true
                | _ -> reader.CharEscape()
        | c ->
            reader.Skip 1
            reader.Literal c

    and group (depth: int) : Node =
        let start = reader.At
        let outer = reader.IgnoreCase

        let close (node: Node) =
            if not (reader.LooksAt(')')) then
                fault start "the group is not closed"

            reader.Skip 1
            reader.IgnoreCase <- outer
            node

        let prefix =
            Regex.Match(reader.Rest, @"^\((\?P?<(?<name>[^>)]*)>|\?(?<flags>[A-Za-z-]*)(?<end>[:)])|(?<other>\?))?")

        reader.Skip prefix.Length

        if prefix.Groups["other"].Success then
            fault start "groups that look ahead or behind are not available"
        elif prefix.Groups["name"].Success then
            let name = prefix.Groups["name"].Value

            if
                name = ""
                || not (name |> String.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '_'))
            then
                fault start "the name of a group is letters, digits and _"

            if names.Contains name then
                fault start $"there is another group with the name {name}"

            names.Add name
            let index = names.Count - 1
            Named(index, close (choice (depth + 1)))
        elif prefix.Groups["flags"].Success then
            let letters = prefix.Groups["flags"].Value

            if prefix.Groups["end"].Value = ")" then
                if letters = "" then
                    fault start "the flags are missing"

                // They apply until the surrounding group ends.
                flags start letters
                Nothing
            else
                flags start letters
                close (choice (depth + 1))
        else
            close (choice (depth + 1))

    let rec size (node: Node) : int64 =
        let bounded (n: int64) = min n (largest + 1L)

        match node with
        | Named(_, inner) -> size inner
        | Sequence items
        | Choice items -> items |> List.sumBy size |> bounded
        | Repeat(inner, least, most, _) -> bounded (size inner * int64 (max 1 (max least most)))
        | _ -> 1L

    member _.Parse() : struct (Node * string list) =
        let root = choice 0

        if not (reader.IsAtEnd) then
            fault reader.At "the group has no beginning"

        if size root > largest then
            fault 0 "the pattern is too large"

        struct (root, List.ofSeq names)
