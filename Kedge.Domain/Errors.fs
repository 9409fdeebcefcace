namespace Kedge.Domain

/// A step from a JSON value to a value inside it.
[<Struct>]
type Step =
    | Field of name: string
    | Index of index: int

/// The steps from the root of a file to a value, outermost first.
type JsonPath = Step list

[<RequireQualifiedAccess>]
module JsonPath =

    /// `$.http.routes[3].host_matcher`
    let render (path: JsonPath) : string =
        let text = System.Text.StringBuilder("$")

        for step in path do
            match step with
            | Field name -> text.Append('.').Append(name) |> ignore
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
