namespace Kedge.Domain

/// Pieces of a file inside a message: always short, always one line.
[<RequireQualifiedAccess>]
module Excerpt =

    let private longest = 60

    let private append (text: System.Text.StringBuilder) (character: char) =
        match character with
        | '\n' -> text.Append "\\n"
        | '\r' -> text.Append "\\r"
        | '\t' -> text.Append "\\t"
        | '\u2028'
        | '\u2029' -> text.Append("\\u").Append((int character).ToString "x4")
        | c when System.Char.IsControl c -> text.Append("\\u").Append((int c).ToString "x4")
        | c -> text.Append c
        |> ignore

    let private shorten (text: string) =
        if text.Length <= longest then
            text
        else
            let cut =
                if System.Char.IsHighSurrogate text[longest - 1] then
                    longest - 1
                else
                    longest

            text.Substring(0, cut) + "…"

    /// The text itself, shortened, its control characters escaped.
    let ofText (text: string) : string =
        let line = System.Text.StringBuilder()
        shorten text |> String.iter (append line)
        line.ToString()

    /// As `ofText`, in quotation marks: what a JSON file has for a text value.
    let quote (text: string) : string =
        let line = System.Text.StringBuilder("\"")

        for character in shorten text do
            if character = '"' || character = '\\' then
                line.Append '\\' |> ignore

            append line character

        line.Append('"').ToString()

/// A step from a JSON value to a value inside it.
[<Struct>]
type Step =
    | Field of name: string
    | Index of index: int

/// The steps from the root of a file to a value, outermost first.
type JsonPath = Step list

[<RequireQualifiedAccess>]
module JsonPath =

    let private isPlain (name: string) =
        name <> ""
        && name
           |> String.forall (fun c -> System.Char.IsAsciiLetterOrDigit c || c = '_' || c = '-')

    /// `$.http.routes[3].host_matcher`; a name with other characters stands in brackets: `$.http["a b"]`.
    let render (path: JsonPath) : string =
        let text = System.Text.StringBuilder("$")

        for step in path do
            match step with
            | Field name when isPlain name -> text.Append('.').Append(name) |> ignore
            | Field name -> text.Append('[').Append(Excerpt.quote name).Append(']') |> ignore
            | Index index -> text.Append('[').Append(index).Append(']') |> ignore

        text.ToString()

/// What can be wrong with a configuration. `found` is always the offending text as the file has it (shortened when long).
type Problem =
    /// The text is not JSON; nothing behind the place can be read.
    | Syntax of detail: string
    | WrongType of expected: string * found: string
    | UnknownField of name: string * suggestion: string option
    /// One field twice, perhaps once in each spelling.
    | RepeatedField of name: string
    /// No such enum name or number.
    | UnknownValue of allowed: string list * found: string * suggestion: string option
    | OutOfRange of allowed: string * found: string
    | Missing of field: string
    /// A text that breaks the rule for its field.
    | Malformed of rule: string * found: string
    /// Exactly one of the fields must be there.
    | NotExactlyOne of fields: string list * found: string list
    | DuplicateName of name: string * first: JsonPath
    /// A name that nothing has.
    | UnknownReference of kind: string * name: string * suggestion: string option

/// A problem and the value that has it. Validation yields these; the file's source map turns them into located errors.
type Violation = { Path: JsonPath; Problem: Problem }

/// Line and column count from 1; the column counts characters. Both are 0 when the value has no place in a file.
type Location =
    {
        File: string
        Line: int
        Column: int
        Path: JsonPath
    }

type ConfigError = { At: Location; Problem: Problem }

[<RequireQualifiedAccess>]
module Problem =

    let private meant suggestion =
        match suggestion with
        | Some name -> $"; did you mean {Excerpt.ofText name}?"
        | None -> ""

    /// What is wrong, and in parentheses what was found.
    let describe (problem: Problem) : string =
        match problem with
        | Syntax detail -> detail
        | WrongType(expected, found) -> $"must be {expected} ({found})"
        | UnknownField(name, suggestion) -> $"unknown field{meant suggestion} ({Excerpt.quote name})"
        | RepeatedField name -> $"given more than once ({Excerpt.quote name})"
        | UnknownValue(allowed, found, suggestion) ->
            let allowed = String.concat ", " allowed
            $"must be one of {allowed}{meant suggestion} ({found})"
        | OutOfRange(allowed, found) -> $"must be {allowed} ({found})"
        | Missing field -> $"{field} is required (absent or empty)"
        | Malformed(rule, found) -> $"{rule} ({found})"
        | NotExactlyOne(fields, found) ->
            let found = if found.IsEmpty then "none" else String.concat ", " found
            let fields = String.concat ", " fields
            $"exactly one of {fields} is required ({found})"
        | DuplicateName(name, first) -> $"the name is taken by {JsonPath.render first} ({Excerpt.quote name})"
        | UnknownReference(kind, name, suggestion) ->
            $"no {kind} has that name{meant suggestion} ({Excerpt.quote name})"

[<RequireQualifiedAccess>]
module ConfigError =

    /// `file:line:column: $.http.routes[3].host_matcher: what is wrong (what was found)`, always one line. Line and
    /// column are left out when the value has no place in a file.
    let describe (error: ConfigError) : string =
        let place =
            if error.At.Line = 0 then
                error.At.File
            else
                $"{error.At.File}:{error.At.Line}:{error.At.Column}"

        $"{place}: {JsonPath.render error.At.Path}: {Problem.describe error.Problem}"
