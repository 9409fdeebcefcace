namespace Kedge.Domain

open System
open System.Text

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
           |> String.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '_' || c = '-')

    /// `$.http.routes[3].host_matcher`; a name with other characters is in brackets: `$.http["a b"]`.
    let render (path: JsonPath) : string =
        let text = StringBuilder("$")

        for step in path do
            match step with
            | Field name when isPlain name -> text.Append('.').Append(name) |> ignore
            | Field name -> text.Append('[').Append(Excerpt.quote name).Append(']') |> ignore
            | Index index -> text.Append('[').Append(index).Append(']') |> ignore

        text.ToString()
