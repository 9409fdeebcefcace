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

    /// The result of the function for the value; the same errors when there is no value.
    member _.Map<'other when 'other: not struct and 'other: not null>(map: Func<'value, 'other>) : Loaded<'other> =
        match value with
        | null -> Loaded(null, problems)
        | value -> Loaded(map.Invoke value, [])

/// Both configuration files in their second shape. A configuration is compiled from them and from the entries that
/// discovery generates.
[<Sealed>]
type LoadedFiles
    private (director: Located<Director>, pool: Located<BackendPool>, bodies: IReadOnlyDictionary<string, byte array>) =

    /// In bytes.
    static let maxBody = 1024 * 1024

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

    /// Without the files that fixed responses name.
    new(director, pool) = LoadedFiles(director, pool, Dictionary())

    member _.Director = director
    member _.Pool = pool
    /// The content of the files that fixed responses name, by path.
    member _.Bodies = bodies

    /// The same files with the content of the files that fixed responses name, or an error for each of these that
    /// cannot be read. The function returns the content of a file, or what is wrong with it.
    member _.ReadBodies(read: Func<string, Result<byte array, string>>) : Loaded<LoadedFiles> =
        let bodies = Dictionary<string, byte array>()

        let problem index (file: string) rule =
            let path =
                [
                    Field "http"
                    Field "routes"
                    Step.Index index
                    Field "respond"
                    Field "body_file"
                ]

            {
                At = director.Source.Locate path
                Problem = Malformed(rule, Excerpt.quote file)
            }

        let problems =
            [
                for index, route in Seq.indexed director.Value.HttpRoutes do
                    match route.Outcome.Action with
                    | Responds response when response.BodyFile <> "" ->
                        match read.Invoke response.BodyFile with
                        | Ok content when content.Length > maxBody ->
                            problem index response.BodyFile $"must be at most {maxBody} bytes long"
                        | Ok content -> bodies[response.BodyFile] <- content
                        | Error reason -> problem index response.BodyFile $"cannot be read: {reason}"
                    | _ -> ()
            ]

        match problems with
        | [] -> Loaded(LoadedFiles(director, pool, bodies), [])
        | problems -> Loaded(null, problems)

    /// No rules, no backends.
    static member val Empty = LoadedFiles(located Director.empty, located BackendPool.empty)

    /// Decodes and validates both files, and reports the errors of both together. The names are for these errors. An
    /// empty text with an empty name means that the file was not given, which is not an error.
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
