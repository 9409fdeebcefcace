namespace Kedge.Domain

open System

/// What is wrong with a value, and where. The innermost step of the path comes first.
[<NoEquality; NoComparison>]
type internal Fault =
    {
        Offset: int
        Path: Step list
        Problem: Problem
    }

/// One file being decoded: its text and its faults so far.
[<Sealed>]
type internal Decoding(text: JsonText) =
    let faults = ResizeArray<Fault>()
    member _.Faults = List.ofSeq faults

    member _.Report(offset: int, path: Step list, problem: Problem) =
        faults.Add
            {
                Offset = offset
                Path = path
                Problem = problem
            }

    /// The text of a value as it appears in the file.
    member _.Found(node: JsonNode) = text.Excerpt(node.Start, node.End)

/// Reads one kind of value. An invalid value is reported and replaced by the default, so that the rest of the file is
/// still read and validated.
[<NoEquality; NoComparison>]
type internal Decoder<'value> =
    {
        Default: 'value
        Read: Decoding -> Step list -> JsonNode -> 'value
    }

    /// Applies a function to the decoded value.
    member decoder.As(map: 'value -> 'other) : Decoder<'other> =
        {
            Default = map decoder.Default
            Read = fun decoding path node -> map (decoder.Read decoding path node)
        }

/// An object whose fields are being read.
[<NoEquality; NoComparison>]
type internal ObjectScope =
    {
        Decoding: Decoding
        Path: Step list
        Start: int
        Members: JsonMember array
    }

/// Reads some fields of an object, and knows their names: a field that no decoder of the object names is unknown.
[<NoEquality; NoComparison>]
type internal Fields<'value> =
    {
        Names: FieldName list
        Take: ObjectScope -> 'value
    }

/// `fields { let! a = … and! b = … return … }`: an applicative, so that all fields are read even when one is wrong.
type internal FieldsBuilder() =
    member _.MergeSources(one: Fields<'a>, other: Fields<'b>) : Fields<'a * 'b> =
        {
            Names = one.Names @ other.Names
            Take = fun scope -> one.Take scope, other.Take scope
        }

    member _.BindReturn(fields: Fields<'a>, map: 'a -> 'b) : Fields<'b> =
        {
            Names = fields.Names
            Take = fields.Take >> map
        }

module internal Decode =

    let fields = FieldsBuilder()

    let private wrongType (expected: string) (decoding: Decoding) path (node: JsonNode) =
        decoding.Report(node.Start, path, WrongType(expected, decoding.Found node))

    let text: Decoder<string> =
        {
            Default = ""
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonString text -> text
                    | _ ->
                        wrongType "a text" decoding path node
                        ""
        }

    let flag: Decoder<bool> =
        {
            Default = false
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonBool value -> value
                    | _ ->
                        wrongType "true or false" decoding path node
                        false
        }

    /// An unsigned 32-bit number, as a number or a text (proto3 JSON). The range is only for the error message when a
    /// number does not fit into 32 bits; validation checks whether a number is within the range.
    let number (range: NumberRange) : Decoder<uint32> =
        {
            Default = 0u
            Read =
                fun decoding path node ->
                    let number =
                        match node.Value with
                        | JsonNumber text
                        | JsonString text -> WholeNumber.parse text
                        | _ -> Error NotWhole

                    match number with
                    | Ok value -> value
                    | Error NotWhole ->
                        wrongType "a whole number" decoding path node
                        0u
                    | Error OutOfBounds ->
                        decoding.Report(node.Start, path, OutOfRange(string range, decoding.Found node))
                        0u
        }

    /// 0 or absent = unset.
    let optionalPort = number NumberRange.optionalPort

    /// A port that is required.
    let port = number NumberRange.port

    let duration: Decoder<TimeSpan> =
        {
            Default = TimeSpan.Zero
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonString text ->
                        match Duration.TryParseExact text with
                        | ValueSome value -> value
                        | ValueNone ->
                            let rule = "must be a duration such as \"5s\", \"300ms\" or \"1m30s\""
                            decoding.Report(node.Start, path, Malformed(rule, decoding.Found node))
                            TimeSpan.Zero
                    | _ ->
                        wrongType "a duration such as \"5s\"" decoding path node
                        TimeSpan.Zero
        }

    /// An enum by name or number; the first of the names is the default.
    let enumeration (names: (string * 'enum) list) (ofNumber: int -> 'enum) : Decoder<'enum> =
        let fallback = snd names.Head

        {
            Default = fallback
            Read =
                fun decoding path node ->
                    let known =
                        match node.Value with
                        | JsonString name -> names |> List.tryFind (fun (n, _) -> n = name) |> Option.map snd
                        | JsonNumber text ->
                            match WholeNumber.parse text with
                            | Ok number when number < uint names.Length -> Some(ofNumber (int number))
                            | _ -> None
                        | _ -> None

                    match known with
                    | Some value -> value
                    | None ->
                        let names = List.map fst names

                        let suggestion =
                            match node.Value with
                            | JsonString name -> Suggestion.closest names name
                            | _ -> None

                        decoding.Report(node.Start, path, UnknownValue(names, decoding.Found node, suggestion))
                        fallback
        }

    let list (item: Decoder<'item>) : Decoder<'item list> =
        {
            Default = []
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonArray items ->
                        items
                        |> Seq.mapi (fun i node -> item.Read decoding (Step.Index i :: path) node)
                        |> List.ofSeq
                    | _ ->
                        wrongType "a list" decoding path node
                        []
        }

    /// An object whose keys are data. A key that occurs twice is an error. `values` names its values in error messages,
    /// in the plural.
    let mapOf (values: string) (value: Decoder<'value>) : Decoder<Map<string, 'value>> =
        {
            Default = Map.empty
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonObject members ->
                        let mutable map = Map.empty

                        for entry in members do
                            let path = Field entry.Name :: path

                            if map.ContainsKey entry.Name then
                                decoding.Report(entry.NameStart, path, RepeatedField entry.Name)
                            else
                                map <- map.Add(entry.Name, value.Read decoding path entry.Node)

                        map
                    | _ ->
                        wrongType $"an object of {values}" decoding path node
                        Map.empty
        }

    let textMap = mapOf "texts" text

    let private takeFrom (decoding: Decoding) path start (members: JsonMember array) (fields: Fields<'value>) =
        for entry in members do
            if not (fields.Names |> List.exists _.Is(entry.Name)) then
                let suggestion = Suggestion.closest (fields.Names |> Seq.map _.Snake) entry.Name
                decoding.Report(entry.NameStart, Field entry.Name :: path, UnknownField(entry.Name, suggestion))

        fields.Take
            {
                Decoding = decoding
                Path = path
                Start = start
                Members = members
            }

    let message (fields: Fields<'value>) : Decoder<'value> =
        {
            Default =
                // Fields that are missing from a value that is not an object are not worth separate errors.
                takeFrom (Decoding(JsonText ReadOnlyMemory.Empty)) [] 0 [||] fields
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonObject members -> takeFrom decoding path node.Start members fields
                    | _ ->
                        wrongType "an object" decoding path node
                        takeFrom (Decoding(JsonText ReadOnlyMemory.Empty)) [] 0 [||] fields
        }

    /// The value of a field; ValueNone when it is absent or null. Reports a repeated field.
    let find (name: FieldName) (scope: ObjectScope) : JsonNode voption =
        let mutable found = ValueNone

        for entry in scope.Members do
            if name.Is entry.Name then
                match found with
                | ValueNone -> found <- ValueSome entry.Node
                | ValueSome _ ->
                    scope.Decoding.Report(entry.NameStart, Field name.Snake :: scope.Path, RepeatedField entry.Name)

        match found with
        | ValueSome { Value = JsonNull } -> ValueNone
        | found -> found

    let optional (name: string) (decoder: Decoder<'value>) : Fields<'value option> =
        let field = FieldName.Of name

        {
            Names = [ field ]
            Take =
                fun scope ->
                    match find field scope with
                    | ValueSome node -> Some(decoder.Read scope.Decoding (Field field.Snake :: scope.Path) node)
                    | ValueNone -> None
        }

    /// An absent field has the decoder's default.
    let field (name: string) (decoder: Decoder<'value>) : Fields<'value> =
        let field = optional name decoder

        {
            Names = field.Names
            Take =
                fun scope ->
                    match field.Take scope with
                    | Some value -> value
                    | None -> decoder.Default
        }

    /// Exactly one of the alternatives must be present; otherwise the first that is present counts.
    let oneOf (alternatives: Fields<'value option> list) (fallback: 'value) : Fields<'value> =
        let names = alternatives |> List.collect _.Names

        {
            Names = names
            Take =
                fun scope ->
                    match alternatives |> List.map (fun field -> field.Take scope) |> List.choose id with
                    | [ only ] -> only
                    | taken ->
                        let present =
                            names
                            |> List.filter (fun name ->
                                scope.Members
                                |> Array.exists (fun m -> name.Is m.Name && not m.Node.Value.IsJsonNull))

                        let problem = NotExactlyOne(names |> List.map _.Snake, present |> List.map _.Snake)
                        scope.Decoding.Report(scope.Start, scope.Path, problem)
                        taken |> List.tryHead |> Option.defaultValue fallback
        }
