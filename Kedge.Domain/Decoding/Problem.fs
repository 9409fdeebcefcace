namespace Kedge.Domain

/// What can be wrong with a configuration. `found` is always the offending text as it appears in the file, shortened
/// when long.
type Problem =
    /// The text is not JSON; nothing after this position can be read.
    | Syntax of detail: string
    | WrongType of expected: string * found: string
    | UnknownField of name: string * suggestion: string option
    /// The same field twice, perhaps once in each spelling.
    | RepeatedField of name: string
    /// An enum has no such name or number.
    | UnknownValue of allowed: string list * found: string * suggestion: string option
    | OutOfRange of allowed: string * found: string
    | Missing of field: string
    /// A text that breaks the rule for its field.
    | Malformed of rule: string * found: string
    /// Exactly one of the fields must be present.
    | NotExactlyOne of fields: string list * found: string list
    | DuplicateName of name: string * first: JsonPath
    /// A name that no entry has.
    | UnknownReference of kind: string * name: string * suggestion: string option

/// A problem and the value that has it. Validation yields violations; the file's source map turns them into located
/// errors.
type Violation = { Path: JsonPath; Problem: Problem }

[<RequireQualifiedAccess>]
module Problem =

    /// The kind of an `UnknownReference` to a rate limit.
    [<Literal>]
    let RateLimit = "rate limit"

    /// The kind of an `UnknownReference` to an issuer of tokens.
    [<Literal>]
    let TokenIssuer = "token issuer"

    let private meant suggestion =
        match suggestion with
        | Some name -> $"; did you mean {Excerpt.ofText name}?"
        | None -> ""

    /// What is wrong, followed by the offending text in parentheses.
    let rec describe (problem: Problem) : string =
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
        | NotExactlyOne([ field ], []) -> describe (Missing field)
        | NotExactlyOne(fields, found) ->
            let found = if found.IsEmpty then "none" else String.concat ", " found
            let fields = String.concat ", " fields
            $"exactly one of {fields} is required ({found})"
        | DuplicateName(name, first) -> $"the name is taken by {JsonPath.render first} ({Excerpt.quote name})"
        | UnknownReference(kind, name, suggestion) ->
            $"no {kind} has that name{meant suggestion} ({Excerpt.quote name})"
