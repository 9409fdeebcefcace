namespace Kedge.Client.Domain

open System
open System.Collections.Generic
open Kedge.Domain

/// The mapper file and the file of auth sources, validated.
[<Sealed>]
type ClientFiles private (mapper: Mapper, sources: Decoded.AuthSource list, warnings: string list) =

    member _.Mapper = mapper
    member _.Sources: IReadOnlyList<Decoded.AuthSource> = sources

    /// One line for each setting that is allowed but probably a mistake.
    member _.Warnings: IReadOnlyList<string> = warnings

    /// The mapper file in its first shape: fields of the right types, none unknown.
    static member DecodeMapper
        (file: string, json: ReadOnlyMemory<byte>)
        : Result<Decoded.MapperFile, ConfigError list> =
        ConfigFile.read MapperJson.mapper Ok file json |> Result.map _.Value

    /// The file of auth sources in its first shape. Errors do not quote it, because it contains secrets.
    static member DecodeSources
        (file: string, json: ReadOnlyMemory<byte>)
        : Result<Decoded.SourcesFile, ConfigError list> =
        ConfigFile.readSecret SourcesJson.sources Ok file json |> Result.map _.Value

    /// The file of auth sources alone, validated, or a line for each error.
    static member LoadSources(file: string, json: ReadOnlyMemory<byte>) : Loaded<IReadOnlyList<Decoded.AuthSource>> =
        match ConfigFile.readSecret SourcesJson.sources AuthSources.validate file json with
        | Ok sources -> Loaded<IReadOnlyList<Decoded.AuthSource>>(sources.Value, [])
        | Error errors -> Loaded<IReadOnlyList<Decoded.AuthSource>>(null, errors)

    /// Both files, or a line for each error. Never throws.
    /// <param name="mapperFile">The name of the mapper file, for messages.</param>
    /// <param name="sourcesFile">The name of the other file, for messages.</param>
    /// <param name="sourcesJson">Empty = there is no such file, and no sources.</param>
    static member Load
        (
            mapperFile: string,
            mapperJson: ReadOnlyMemory<byte>,
            sourcesFile: string,
            sourcesJson: ReadOnlyMemory<byte>,
            options: MapperOptions
        ) : Loaded<ClientFiles> =
        let sources =
            if sourcesJson.IsEmpty then
                Ok []
            else
                ConfigFile.readSecret SourcesJson.sources AuthSources.validate sourcesFile sourcesJson
                |> Result.map _.Value

        let validate (file: Decoded.MapperFile) =
            Routes.validate options (Result.toOption sources) file
            |> Result.map (fun routes -> struct (routes, file.Unmapped))

        let mapper = ConfigFile.read MapperJson.mapper validate mapperFile mapperJson

        match mapper, sources with
        | Ok mapper, Ok sources ->
            let struct (routes, unmapped) = mapper.Value

            let warnings =
                Routes.warnings routes
                |> List.map (fun warning ->
                    {
                        At = mapper.Source.Locate warning.Path
                        Problem = warning.Problem
                    })

            Loaded(ClientFiles(Mapper(routes, unmapped), sources, List.map ConfigError.describe warnings), [])
        | mapper, sources ->
            let errors (result: Result<'value, ConfigError list>) =
                match result with
                | Ok _ -> []
                | Error errors -> errors

            Loaded(null, errors mapper @ errors sources)
