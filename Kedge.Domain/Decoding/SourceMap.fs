namespace Kedge.Domain

open System

/// The two spellings of a field in the proto3 JSON mapping.
[<Struct>]
type internal FieldName =
    {
        /// `host_matcher`
        Snake: string
        /// `hostMatcher`
        Camel: string
    }

    static member Of(snake: string) : FieldName =
        let parts = snake.Split '_'

        let camel =
            parts
            |> Array.mapi (fun i part ->
                if i = 0 || part = "" then
                    part
                else
                    string (Char.ToUpperInvariant part[0]) + part.Substring 1)
            |> String.concat ""

        { Snake = snake; Camel = camel }

    member field.Is(name: string) = name = field.Snake || name = field.Camel

/// Finds the position of each value of a file. It stores nothing for each value: a lookup walks the file's tree.
[<Sealed>]
type SourceMap internal (file: string, text: JsonText, root: JsonNode voption) =

    /// Other names for fields: `authority_matcher` sets host and port at once.
    let aliases =
        Map
            [
                "authority_host_matcher", "authority_matcher"
                "authority_port_matcher", "authority_matcher"
            ]

    let tryMember (node: JsonNode) (name: string) =
        match node.Value with
        | JsonObject members ->
            let field = FieldName.Of name

            match members |> Array.tryFind (fun m -> m.Name = name) with
            | Some found -> Some found.Node
            | None -> members |> Array.tryFind (fun m -> field.Is m.Name) |> Option.map _.Node
        | _ -> None

    /// The node at the end of the steps, or the innermost one that the file has; and all steps, the last one first,
    /// with the aliases that the file uses.
    let rec walk (node: JsonNode) (path: JsonPath) (walked: Step list) =
        match path with
        | [] -> struct (node, walked)
        | Field name :: rest ->
            match tryMember node name with
            | Some child -> walk child rest (Field name :: walked)
            | None ->
                match aliases |> Map.tryFind name with
                | Some alias ->
                    match tryMember node alias with
                    | Some child -> walk child rest (Field alias :: walked)
                    | None -> struct (node, List.rev path @ walked)
                | None -> struct (node, List.rev path @ walked)
        | Step.Index index :: rest ->
            match node.Value with
            | JsonArray items when index >= 0 && index < items.Length ->
                walk items[index] rest (Step.Index index :: walked)
            | _ -> struct (node, List.rev path @ walked)

    /// The name under which the file was given, for messages.
    member _.File = file

    member internal _.Text = text

    member internal _.At(offset: int, path: JsonPath) : Location =
        {
            File = file
            Line = text.Line offset
            Column = text.Column offset
            Path = path
        }

    /// The byte offset of a value, or of the innermost value that would contain it when the file does not have it.
    member internal _.Offset(path: JsonPath) : int =
        match root with
        | ValueSome root ->
            let struct (node, _) = walk root path []
            node.Start
        | ValueNone -> 0

    /// Where a value is, or the innermost value that would contain it when the file does not have it. Without a line
    /// and a column when there is no file.
    member map.Locate(path: JsonPath) : Location =
        match root with
        | ValueSome root ->
            let struct (node, walked) = walk root path []
            map.At(node.Start, List.rev walked)
        | ValueNone ->
            {
                File = file
                Line = 0
                Column = 0
                Path = path
            }

    /// The line of a value, from 1; 0 when there is no file.
    member internal map.Line(path: JsonPath) : int =
        match root with
        | ValueSome _ -> text.Line(map.Offset path)
        | ValueNone -> 0

    /// The map of a file that was not given, or of entries that are in no file.
    static member None(name: string) = SourceMap(name, JsonText ReadOnlyMemory.Empty, ValueNone)
