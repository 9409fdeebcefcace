namespace Kedge.Domain

open System
open System.Text

/// Pieces of a file in a message: always short, always on one line.
[<RequireQualifiedAccess>]
module Excerpt =

    /// In characters.
    let private maxLength = 60

    let private append (text: StringBuilder) (character: char) =
        match character with
        | '\n' -> text.Append "\\n"
        | '\r' -> text.Append "\\r"
        | '\t' -> text.Append "\\t"
        | '\u2028'
        | '\u2029' -> text.Append("\\u").Append((int character).ToString "x4")
        | c when Char.IsControl c -> text.Append("\\u").Append((int c).ToString "x4")
        | c -> text.Append c
        |> ignore

    let private shorten (text: string) =
        if text.Length <= maxLength then
            text
        else
            let cut =
                if Char.IsHighSurrogate text[maxLength - 1] then
                    maxLength - 1
                else
                    maxLength

            text.Substring(0, cut) + "…"

    /// The text itself, shortened, its control characters escaped.
    let ofText (text: string) : string =
        let line = StringBuilder()
        shorten text |> String.iter (append line)
        line.ToString()

    /// As `ofText`, in quotation marks and with the escapes of JSON.
    let quote (text: string) : string =
        let line = StringBuilder("\"")

        for character in shorten text do
            if character = '"' || character = '\\' then
                line.Append '\\' |> ignore

            append line character

        line.Append('"').ToString()
