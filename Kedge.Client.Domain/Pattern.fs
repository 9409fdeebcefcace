namespace Kedge.Client.Domain

open System
open System.Globalization
open System.Text
open System.Text.RegularExpressions

/// What a pattern is made of. Hosts are the texts that patterns meet: lower-case ASCII without line ends.
type internal Node =
    | Nothing
    /// One character: of these ranges, or of none of them.
    | Chars of negated: bool * ranges: struct (char * char) list
    | AnyChar
    | Start
    | End
    | Boundary of negated: bool
    /// A named group, by its index.
    | Named of int * Node
    | Sequence of Node list
    | Choice of Node list
    /// `most` < 0 = without limit.
    | Repeat of node: Node * least: int * most: int * isLazy: bool

/// What is wrong with a pattern; `At` counts characters from 1.
type PatternFault = { At: int; Detail: string }

exception private PatternError of PatternFault

/// Reads RE2's syntax (https://github.com/google/re2/wiki/Syntax), as far as other dialects can express it.
[<Sealed>]
type private PatternParser(text: string) =

    // Deeper nesting or larger repetition would cost memory that no host name is worth.
    let deepest = 100
    let largest = 10_000L
    let largestRepeat = 1000

    let names = ResizeArray<string>()
    let mutable at = 0
    let mutable ignoreCase = false

    let fault (place: int) (detail: string) = raise (PatternError { At = place + 1; Detail = detail })

    let isAtEnd () = at >= text.Length
    let looksAt (c: char) = at < text.Length && text[at] = c
    let startsWith (prefix: string) = String.CompareOrdinal(text, at, prefix, 0, prefix.Length) = 0

    let digits: struct (char * char) list = [ struct ('0', '9') ]

    let word: struct (char * char) list =
        [ struct ('0', '9'); struct ('A', 'Z'); struct ('_', '_'); struct ('a', 'z') ]

    let space: struct (char * char) list =
        [ struct ('\t', '\n'); struct ('\012', '\013'); struct (' ', ' ') ]

    /// The gaps between ranges.
    let complement (ranges: struct (char * char) list) =
        let sorted = ranges |> List.sortBy (fun (struct (low, _)) -> low)
        let gaps = ResizeArray<struct (char * char)>()
        let mutable next = 0

        for struct (low, high) in sorted do
            if int low > next then
                gaps.Add(struct (char next, char (int low - 1)))

            next <- max next (int high + 1)

        if next <= 0xFFFF then
            gaps.Add(struct (char next, '\uFFFF'))

        List.ofSeq gaps

    /// With the other case of each ASCII letter.
    let fold (ranges: struct (char * char) list) =
        if not ignoreCase then
            ranges
        else
            let shifted (low: char) (high: char) (first: char) (last: char) (by: int) =
                let low, high = max low first, min high last

                if low <= high then
                    [ struct (char (int low + by), char (int high + by)) ]
                else
                    []

            ranges
            @ (ranges
               |> List.collect (fun (struct (low, high)) -> shifted low high 'A' 'Z' 32 @ shifted low high 'a' 'z' -32))

    let literal (c: char) = Chars(false, fold [ struct (c, c) ])

    let isHex (c: char) = Char.IsAsciiHexDigit c

    /// The character behind `\x`, which has been read.
    let hexEscape (start: int) : int =
        if looksAt '{' then
            let stop = text.IndexOf('}', at)

            let number =
                if stop < 0 then
                    ""
                else
                    text.Substring(at + 1, stop - at - 1)

            if number = "" || number.Length > 6 || not (String.forall isHex number) then
                fault start "the escape \\x{…} needs hexadecimal digits"

            at <- stop + 1
            let value = Convert.ToInt32(number, 16)

            if value > 0x10FFFF then
                fault start "the escape is beyond U+10FFFF"

            value
        else if at + 1 < text.Length && isHex text[at] && isHex text[at + 1] then
            at <- at + 2
            Convert.ToInt32(text.Substring(at - 2, 2), 16)
        else
            fault start "the escape \\x needs two hexadecimal digits"

    /// A class such as `\d`; `at` is behind the backslash.
    let classEscape () : struct (char * char) list voption =
        if isAtEnd () then
            ValueNone
        else
            match text[at] with
            | 'd' -> ValueSome digits
            | 'D' -> ValueSome(complement digits)
            | 'w' -> ValueSome word
            | 'W' -> ValueSome(complement word)
            | 's' -> ValueSome space
            | 'S' -> ValueSome(complement space)
            | _ -> ValueNone

    /// A character escape; `at` is behind the backslash.
    let charEscape () : int =
        let start = at - 1

        if isAtEnd () then
            fault start "a backslash ends the pattern"
        else
            let c = text[at]
            at <- at + 1

            match c with
            | 'a' -> 7
            | 'f' -> 12
            | 't' -> 9
            | 'n' -> 10
            | 'r' -> 13
            | 'v' -> 11
            | 'x' -> hexEscape start
            | '0' ->
                let stop =
                    seq { at .. min (at + 1) (text.Length - 1) }
                    |> Seq.takeWhile (fun i -> text[i] >= '0' && text[i] <= '7')
                    |> Seq.length

                at <- at + stop

                if stop = 0 then
                    0
                else
                    Convert.ToInt32(text.Substring(at - stop, stop), 8)
            | c when c < '\128' && not (Char.IsAsciiLetterOrDigit c) -> int c
            | 'Q' -> fault start "\\Q…\\E is not available here: escape the characters one by one"
            | 'C' -> fault start "\\C is not available here"
            | 'p'
            | 'P' -> fault start "Unicode classes are not available here: hosts are ASCII"
            | c when Char.IsAsciiDigit c -> fault start "references to groups are not available"
            | c -> fault start $"\\{c} is not an escape"

    let ofCodePoint (value: int) : Node =
        if value <= 0xFFFF then
            literal (char value)
        else
            Sequence [ for c in Char.ConvertFromUtf32 value -> literal c ]

    let bracketed () : Node =
        let start = at
        at <- at + 1
        let negated = looksAt '^'

        if negated then
            at <- at + 1

        let ranges = ResizeArray<struct (char * char)>()
        let mutable first = true

        let single () : int =
            if looksAt '\\' then
                at <- at + 1
                charEscape ()
            else
                at <- at + 1
                int text[at - 1]

        while first || not (looksAt ']') do
            if isAtEnd () then
                fault start "the bracket is not closed"

            first <- false

            if startsWith "[:" && text.IndexOf(":]", at, StringComparison.Ordinal) > 0 then
                fault at "classes such as [[:alpha:]] are not available here: write [a-z]"

            let isEscapedClass =
                looksAt '\\'
                && (at <- at + 1
                    let known = classEscape ()
                    at <- at - 1
                    known.IsSome)

            if isEscapedClass then
                at <- at + 1
                ranges.AddRange (classEscape ()).Value
                at <- at + 1
            else
                let place = at
                let low = single ()

                let high =
                    if looksAt '-' && at + 1 < text.Length && text[at + 1] <> ']' then
                        at <- at + 1
                        single ()
                    else
                        low

                if high < low then
                    fault place "the range is the wrong way round"

                if low <= 0xFFFF then
                    ranges.Add(struct (char low, char (min high 0xFFFF)))

        at <- at + 1
        Chars(negated, fold (List.ofSeq ranges))

    /// The numbers of `{2}`, `{2,}` or `{2,5}`; none when the brace is an ordinary character.
    let counted () : struct (int * int) voption =
        let found = Regex.Match(text.Substring at, @"^\{([0-9]+)(,([0-9]*))?\}")

        if not found.Success then
            ValueNone
        else
            let number (digits: string) =
                match Int32.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture) with
                | true, number when number <= largestRepeat -> number
                | _ -> fault at $"a repetition may be {largestRepeat} at most"

            let least = number found.Groups[1].Value

            let most =
                if not found.Groups[2].Success then least
                elif found.Groups[3].Value = "" then -1
                else number found.Groups[3].Value

            if most >= 0 && most < least then
                fault at "the repetition is the wrong way round"

            at <- at + found.Length
            ValueSome(least, most)

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
            ignoreCase <- true

        if off.Contains 'i' then
            ignoreCase <- false

    let rec choice (depth: int) : Node =
        if depth > deepest then
            fault at $"the groups are nested deeper than {deepest} levels"

        let branches = ResizeArray [ sequence depth ]

        while looksAt '|' do
            at <- at + 1
            branches.Add(sequence depth)

        if branches.Count = 1 then
            branches[0]
        else
            Choice(List.ofSeq branches)

    and sequence (depth: int) : Node =
        let items = ResizeArray<Node>()

        while not (isAtEnd () || looksAt '|' || looksAt ')') do
            items.Add(repeated (item depth))

        match List.ofSeq items with
        | [] -> Nothing
        | [ one ] -> one
        | many -> Sequence many

    and repeated (node: Node) : Node =
        let place = at

        let operator =
            if isAtEnd () then
                ValueNone
            else
                match text[at] with
                | '*' ->
                    at <- at + 1
                    ValueSome(struct (0, -1))
                | '+' ->
                    at <- at + 1
                    ValueSome(struct (1, -1))
                | '?' ->
                    at <- at + 1
                    ValueSome(struct (0, 1))
                | '{' -> counted ()
                | _ -> ValueNone

        match operator with
        | ValueNone -> node
        | ValueSome(least, most) ->
            let isLazy = looksAt '?'

            if isLazy then
                at <- at + 1

            if not (isAtEnd ()) && (text[at] = '*' || text[at] = '+' || text[at] = '?') then
                fault place "one repetition follows another"

            repeated (Repeat(node, least, most, isLazy))

    and item (depth: int) : Node =
        let start = at

        match text[at] with
        | '(' -> group depth
        | '[' -> bracketed ()
        | '.' ->
            at <- at + 1
            AnyChar
        | '^' ->
            at <- at + 1
            Start
        | '$' ->
            at <- at + 1
            End
        | '*'
        | '+'
        | '?' -> fault start "there is nothing to repeat"
        | '{' when (counted ()).IsSome -> fault start "there is nothing to repeat"
        | '\\' ->
            at <- at + 1

            match classEscape () with
            | ValueSome ranges ->
                at <- at + 1
                Chars(false, ranges)
            | ValueNone ->
                match (if isAtEnd () then ' ' else text[at]) with
                | 'A' ->
                    at <- at + 1
                    Start
                | 'z' ->
                    at <- at + 1
                    End
                | 'b' ->
                    at <- at + 1
                    Boundary false
                | 'B' ->
                    at <- at + 1
                    Boundary true
                | _ -> ofCodePoint (charEscape ())
        | c ->
            at <- at + 1
            literal c

    and group (depth: int) : Node =
        let start = at
        let outer = ignoreCase

        let close (node: Node) =
            if not (looksAt ')') then
                fault start "the group is not closed"

            at <- at + 1
            ignoreCase <- outer
            node

        let prefix =
            Regex.Match(
                text.Substring at,
                @"^\((\?P?<(?<name>[^>)]*)>|\?(?<flags>[A-Za-z-]*)(?<end>[:)])|(?<other>\?))?"
            )

        at <- at + prefix.Length

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

                // They hold until the surrounding group ends.
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

        if not (isAtEnd ()) then
            fault at "the group has no beginning"

        if size root > largest then
            fault 0 "the pattern is too large"

        struct (root, List.ofSeq names)

/// Writes a pattern in another dialect.
module private Dialect =

    let escape (text: StringBuilder) (c: char) =
        if Char.IsAsciiLetterOrDigit c || c = '_' then
            text.Append c |> ignore
        elif c > ' ' && c < '\127' then
            text.Append('\\').Append(c) |> ignore
        else
            text.Append("\\u").Append((int c).ToString("x4", CultureInfo.InvariantCulture))
            |> ignore

    let private chars (text: StringBuilder) negated (ranges: struct (char * char) list) =
        match negated, ranges with
        | false, [] -> text.Append @"[^\s\S]" |> ignore
        | true, [] -> text.Append @"[\s\S]" |> ignore
        | false, [ struct (low, high) ] when low = high -> escape text low
        | _ ->
            text.Append(if negated then "[^" else "[") |> ignore

            for struct (low, high) in ranges do
                escape text low

                if high > low then
                    text.Append '-' |> ignore
                    escape text high

            text.Append ']' |> ignore

    /// `capture` yields what opens a named group, `last` is the end of the text.
    let render (capture: int -> string) (last: string) (root: Node) : string =
        let text = StringBuilder()

        let rec write (node: Node) =
            match node with
            | Nothing -> ()
            | Chars(negated, ranges) -> chars text negated ranges
            | AnyChar -> text.Append '.' |> ignore
            | Start -> text.Append '^' |> ignore
            | End -> text.Append last |> ignore
            | Boundary negated -> text.Append(if negated then "\\B" else "\\b") |> ignore
            | Named(index, inner) ->
                text.Append(capture index) |> ignore
                write inner
                text.Append ')' |> ignore
            | Sequence items ->
                for item in items do
                    match item with
                    | Choice _ -> wrapped item
                    | _ -> write item
            | Choice branches ->
                branches
                |> List.iteri (fun i branch ->
                    if i > 0 then
                        text.Append '|' |> ignore

                    write branch)
            | Repeat(inner, least, most, isLazy) ->
                match inner with
                | Chars _
                | AnyChar
                | Named _ -> write inner
                | _ -> wrapped inner

                match least, most with
                | 0, -1 -> text.Append '*'
                | 1, -1 -> text.Append '+'
                | 0, 1 -> text.Append '?'
                | _, -1 -> text.Append('{').Append(least).Append(",}")
                | _ when least = most -> text.Append('{').Append(least).Append('}')
                | _ -> text.Append('{').Append(least).Append(',').Append(most).Append('}')
                |> ignore

                if isLazy then
                    text.Append '?' |> ignore

        and wrapped (node: Node) =
            text.Append "(?:" |> ignore
            write node
            text.Append ')' |> ignore

        write root
        text.ToString()

/// A pattern in RE2's syntax, ready to match. Matching takes time in proportion to the text, whatever the pattern is.
[<Sealed>]
type Pattern private (text: string, root: Node, names: string list) =

    let groups = names |> List.mapi (fun i name -> name, $"g{i}") |> dict

    let regex =
        Regex(
            Dialect.render (fun i -> $"(?<g{i}>") @"\z" root,
            RegexOptions.NonBacktracking ||| RegexOptions.CultureInvariant
        )

    let rec begins (node: Node) =
        match node with
        | Start -> true
        | Sequence(first :: _)
        | Named(_, first) -> begins first
        | Choice branches -> branches |> List.forall begins
        | _ -> false

    let rec ends (node: Node) =
        match node with
        | End -> true
        | Sequence items -> not items.IsEmpty && ends (List.last items)
        | Named(_, inner) -> ends inner
        | Choice branches -> branches |> List.forall ends
        | _ -> false

    /// As it was written.
    member _.Text = text

    /// The names of its groups, in order.
    member _.Groups = names

    /// Whether it matches from the beginning of a text only (`^`).
    member _.IsAnchoredAtStart = begins root

    /// Whether it matches up to the end of a text only (`$`).
    member _.IsAnchoredAtEnd = ends root

    member _.IsMatch(input: string) : bool = regex.IsMatch input

    /// The value of each group; none when the pattern does not match. A group that took no part has an empty value.
    member _.TryMatch(input: string) : (string -> string) voption =
        let found = regex.Match input

        if found.Success then
            ValueSome(fun name -> found.Groups[groups[name]].Value)
        else
            ValueNone

    /// The source text of a JavaScript regular expression that matches the same hosts.
    member _.JavaScript: string = Dialect.render (fun _ -> "(?:") "$" root

    override _.ToString() = text

    /// Longer patterns are rejected.
    static member MaxLength = 4096

    /// Never throws.
    static member Parse(text: string) : Result<Pattern, PatternFault> =
        if text.Length > Pattern.MaxLength then
            Error
                {
                    At = Pattern.MaxLength
                    Detail = $"the pattern is longer than {Pattern.MaxLength} characters"
                }
        else
            try
                let struct (root, names) = PatternParser(text).Parse()
                Ok(Pattern(text, root, names))
            with PatternError fault ->
                Error fault
