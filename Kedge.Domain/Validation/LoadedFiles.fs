namespace Kedge.Domain

open System
open System.Collections.Generic

/// The outcome of loading: a value, or everything that is wrong with its files.
[<Sealed>]
type Loaded<'value when 'value: not struct and 'value: not null>
    internal (value: 'value | null, problems: ConfigError list) =
    let errors = problems |> Seq.map ConfigError.describe |> Array.ofSeq
    member _.IsValid = errors.Length = 0
    /// Null unless `IsValid`.
    member _.Value = value
    /// One line for each error: `file:line:column: $.path: what is wrong (what was found)`.
    member _.Errors: IReadOnlyList<string> = errors
    /// The same errors, with their locations.
    member _.Problems: IReadOnlyList<ConfigError> = List.toArray problems

    /// What the function makes of the value; the same errors when there is none.
    member _.Map<'other when 'other: not struct and 'other: not null>(map: Func<'value, 'other>) : Loaded<'other> =
        match value with
        | null -> Loaded(null, problems)
        | value -> Loaded(map.Invoke value, [])

/// Both configuration files in their second shape: what a configuration is compiled from, together with what discovery
/// generates.
[<Sealed>]
type LoadedFiles(director: Located<Director>, pool: Located<BackendPool>) =

    static let located value =
        {
            Value = value
            Source = SourceMap.None ""
        }

    static let orAbsent absent read (name: string) (json: ReadOnlyMemory<byte>) =
        if name = "" && json.IsEmpty then
            Ok(located absent)
        else
            read name json

    member _.Director = director
    member _.Pool = pool

    /// No rules, no backends.
    static member val Empty = LoadedFiles(located Director.empty, located BackendPool.empty)

    /// Decodes and validates both files, and reports the errors of both together. The names are for these errors. An
    /// empty text under an empty name is a file that was not given, which is not an error.
    static member Load
        (directorName: string, director: ReadOnlyMemory<byte>, poolName: string, pool: ReadOnlyMemory<byte>)
        : Loaded<LoadedFiles> =
        let director = orAbsent Director.empty ConfigFile.loadDirector directorName director

        let pool = orAbsent BackendPool.empty ConfigFile.loadBackendPool poolName pool

        match director, pool with
        | Ok director, Ok pool -> Loaded(LoadedFiles(director, pool), [])
        | Ok _, Error errors
        | Error errors, Ok _ -> Loaded(null, errors)
        | Error errors, Error more -> Loaded(null, errors @ more)
