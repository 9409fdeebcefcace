namespace Kedge.Client.Domain

open System
open System.Globalization
open System.Text

/// Writes a pattern in another dialect.
module internal PatternDialect =

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

    /// `capture` returns the text that opens a named group; `last` is the anchor for the end of the text.
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
