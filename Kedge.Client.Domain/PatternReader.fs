namespace Kedge.Client.Domain

open System
open System.Globalization
open System.Text.RegularExpressions

/// A position in a pattern's text, and readers for what begins there: characters, escapes, brackets, repetition counts.
[<Sealed>]
type internal PatternReader(text: string) =

    let largestRepeat = 1000
    let mutable at = 0
    let mutable ignoreCase = false

    let fault (place: int) (detail: string) = raise (PatternError { At = place + 1; Detail = detail })

    let isAtEnd () = at >= text.Length
    let looksAt (c: char) = at < text.Length && text[at] = c
    let startsWith (prefix: string) = String.CompareOrdinal(text, at, prefix, 0, prefix.Length) = 0

    let fold (ranges: CharRange list) =
        if ignoreCase then
            CharRanges.withOtherCase ranges
        else
            ranges

    let literal (c: char) = Chars(false, fold [ struct (c, c) ])

    let isHex (c: char) = Char.IsAsciiHexDigit c

    /// The character after `\x`, which has already been read.
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

    /// A class such as `\d`; `at` is after the backslash.
    let classEscape () : CharRange list voption =
        if isAtEnd () then
            ValueNone
        else
            match text[at] with
            | 'd' -> ValueSome CharRanges.digits
            | 'D' -> ValueSome(CharRanges.complement CharRanges.digits)
            | 'w' -> ValueSome CharRanges.word
            | 'W' -> ValueSome(CharRanges.complement CharRanges.word)
            | 's' -> ValueSome CharRanges.space
            | 'S' -> ValueSome(CharRanges.complement CharRanges.space)
            | _ -> ValueNone

    /// A character escape; `at` is after the backslash.
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

        let ranges = ResizeArray<CharRange>()
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

    /// Counted from 0.
    member _.At = at

    /// Whether letters match in both cases from here.
    member _.IgnoreCase
        with get () = ignoreCase
        and set (value: bool) = ignoreCase <- value

    member _.IsAtEnd = isAtEnd ()

    /// The next character; there must be one.
    member _.Current = text[at]

    /// The rest of the text.
    member _.Rest = text.Substring at

    member _.LooksAt(c: char) = looksAt c

    /// Skips characters.
    member _.Skip(count: int) = at <- at + count

    /// A class such as `\d`, after the backslash; it is not skipped.
    member _.ClassEscape() = classEscape ()

    /// A character escape, after the backslash.
    member _.CharEscape() : Node = ofCodePoint (charEscape ())

    member _.Literal(c: char) = literal c

    /// A class in brackets.
    member _.Bracketed() = bracketed ()

    /// The numbers of `{2}`, `{2,}` or `{2,5}`; none when the brace is an ordinary character.
    member _.Counted() = counted ()
