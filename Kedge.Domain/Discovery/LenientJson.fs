namespace Kedge.Domain.Discovery

open System
open System.Text.Json

/// Reads the API server's JSON leniently: a value of an unexpected type counts as absent.
[<RequireQualifiedAccess>]
module internal LenientJson =

    let tryField (name: string) (element: JsonElement) : JsonElement voption =
        let mutable value = Unchecked.defaultof<JsonElement>

        if
            element.ValueKind = JsonValueKind.Object
            && element.TryGetProperty(name, &value)
            && value.ValueKind <> JsonValueKind.Null
        then
            ValueSome value
        else
            ValueNone

    /// ValueNone when it is not a text.
    let asText (element: JsonElement) : string voption =
        if element.ValueKind = JsonValueKind.String then
            match element.GetString() with
            | null -> ValueNone
            | text -> ValueSome text
        else
            ValueNone

    /// Empty when there is no such text.
    let text (name: string) (element: JsonElement) : string =
        tryField name element |> ValueOption.bind asText |> ValueOption.defaultValue ""

    let number (element: JsonElement) : int voption =
        let mutable value = 0

        if element.ValueKind = JsonValueKind.Number && element.TryGetInt32(&value) then
            ValueSome value
        else
            ValueNone

    let flag (name: string) (element: JsonElement) : bool voption =
        match tryField name element with
        | ValueSome value when value.ValueKind = JsonValueKind.True -> ValueSome true
        | ValueSome value when value.ValueKind = JsonValueKind.False -> ValueSome false
        | _ -> ValueNone

    /// Empty when there is no such array.
    let items (name: string) (element: JsonElement) : JsonElement list =
        match tryField name element with
        | ValueSome value when value.ValueKind = JsonValueKind.Array -> List.ofSeq (value.EnumerateArray())
        | _ -> []

    /// The entries of an object whose values are texts and whose keys satisfy `keep`.
    let texts (keep: string -> bool) (name: string) (element: JsonElement) : Map<string, string> =
        match tryField name element with
        | ValueSome value when value.ValueKind = JsonValueKind.Object ->
            (Map.empty, value.EnumerateObject())
            ||> Seq.fold (fun map entry ->
                match asText entry.Value with
                | ValueSome text when keep entry.Name -> map.Add(entry.Name, text)
                | _ -> map)
        | _ -> Map.empty

    /// Runs a reader. ValueNone when a text contains half of a surrogate pair, for which `JsonElement` throws.
    let guarded (read: JsonElement -> 'value voption) (element: JsonElement) : 'value voption =
        try
            read element
        with :? InvalidOperationException ->
            ValueNone
