namespace Kedge.Domain

open System

/// A value read from a file, and where its parts are in the file.
type Located<'value> = { Value: 'value; Source: SourceMap }

/// Reads the configuration files one by one: from bytes to the first shape, and from there to the second. Never throws.
[<RequireQualifiedAccess>]
module ConfigFile =

    /// Whether a violation only echoes a decoding fault, because it is about a value that could not be read.
    let private isEcho (faults: Fault list) : Violation -> bool =
        let doubtful =
            Collections.Generic.HashSet<JsonPath>(
                faults
                |> Seq.collect (fun fault ->
                    match fault.Problem, fault.Path with
                    | UnknownField(_, Some meant), _ :: parent -> [ List.rev (Field meant :: parent) ]
                    | NotExactlyOne(fields, _), path ->
                        fields |> List.map (fun field -> List.rev (Field field :: path))
                    | _, path -> [ List.rev path ])
            )

        let rec isDoubtful (walked: Step list) (path: Step list) =
            doubtful.Contains(List.rev walked)
            || (match path with
                | [] -> false
                | step :: rest -> isDoubtful (step :: walked) rest)

        fun violation ->
            match violation.Problem with
            | Missing field -> isDoubtful [] (violation.Path @ [ Field field ])
            | NotExactlyOne(fields, _) ->
                fields
                |> List.exists (fun field -> isDoubtful [] (violation.Path @ [ Field field ]))
            | _ -> isDoubtful [] violation.Path

    let private inOrder (located: (int * ConfigError) list) : ConfigError list =
        located |> List.sortBy fst |> List.map snd

    /// A file from its bytes to its second shape, or all errors of both steps in the file's order.
    let internal read
        (decoder: Decoder<'decoded>)
        (validate: 'decoded -> Result<'value, Violation list>)
        (file: string)
        (json: ReadOnlyMemory<byte>)
        : Result<Located<'value>, ConfigError list> =
        let text = JsonText json

        match Json.parse text with
        | Error fault ->
            let source = SourceMap(file, text, ValueNone)

            Error
                [
                    {
                        At = source.At(fault.Offset, [])
                        Problem = Syntax fault.Detail
                    }
                ]
        | Ok root ->
            let source = SourceMap(file, text, ValueSome root)
            let decoding = Decoding text
            let decoded = decoder.Read decoding [] root

            let faults =
                decoding.Faults
                |> List.map (fun fault ->
                    fault.Offset,
                    {
                        At = source.At(fault.Offset, List.rev fault.Path)
                        Problem = fault.Problem
                    })

            match validate decoded, faults with
            | Ok value, [] -> Ok { Value = value; Source = source }
            | Ok _, faults -> Error(inOrder faults)
            | Error violations, _ ->
                let isEcho = isEcho decoding.Faults

                let violations =
                    violations
                    |> List.filter (isEcho >> not)
                    |> List.map (fun violation ->
                        source.Offset violation.Path,
                        {
                            At = source.Locate violation.Path
                            Problem = violation.Problem
                        })

                Error(inOrder (faults @ violations))

    /// Like `read`, for a file with secrets: no error quotes a value that could not be read.
    let internal readSecret
        (decoder: Decoder<'decoded>)
        (validate: 'decoded -> Result<'value, Violation list>)
        (file: string)
        (json: ReadOnlyMemory<byte>)
        : Result<Located<'value>, ConfigError list> =
        let hidden = "not shown: the file has secrets"

        let withoutQuote (problem: Problem) =
            match problem with
            | Syntax detail ->
                match detail.IndexOf(" (", StringComparison.Ordinal) with
                | -1 -> problem
                | quote -> Syntax $"{detail.Substring(0, quote)} ({hidden})"
            | WrongType(expected, _) -> WrongType(expected, hidden)
            | UnknownValue(allowed, _, suggestion) -> UnknownValue(allowed, hidden, suggestion)
            | other -> other

        read decoder validate file json
        |> Result.mapError (
            List.map (fun error ->
                { error with
                    Problem = withoutQuote error.Problem
                })
        )

    /// `director.json` in its first shape: fields of the right types, none unknown. The file's name is for messages.
    let decodeDirector (file: string) (json: ReadOnlyMemory<byte>) : Result<Decoded.Director, ConfigError list> =
        read DirectorJson.director Ok file json |> Result.map _.Value

    /// `backendpool.json` in its first shape.
    let decodeBackendPool (file: string) (json: ReadOnlyMemory<byte>) : Result<Decoded.BackendPool, ConfigError list> =
        read BackendPoolJson.backendPool Ok file json |> Result.map _.Value

    /// `director.json` in its second shape, decoded and validated, or all errors of both steps in the file's order.
    let loadDirector (file: string) (json: ReadOnlyMemory<byte>) : Result<Located<Director>, ConfigError list> =
        read DirectorJson.director Director.validate file json

    /// `backendpool.json` in its second shape.
    let loadBackendPool (file: string) (json: ReadOnlyMemory<byte>) : Result<Located<BackendPool>, ConfigError list> =
        read BackendPoolJson.backendPool BackendPool.validate file json
