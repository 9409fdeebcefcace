namespace Kedge.Domain

open System
open System.Collections.Generic

/// A configuration in its third shape: validated and compiled. Immutable; the server replaces it as a whole.
[<Sealed>]
type Configuration
    private
    (
        files: LoadedFiles,
        http: ProtocolPart<Decoded.HttpRoute, HttpRoute>,
        grpc: ProtocolPart<Decoded.GrpcRoute, GrpcRoute>
    ) =

    let entries () : Decoded.Director =
        let own = files.Director.Value.Entries

        { own with
            HttpRoutes = own.HttpRoutes @ List.ofArray http.GeneratedRoutes
            GrpcRoutes = own.GrpcRoutes @ List.ofArray grpc.GeneratedRoutes
        }

    let director =
        Director(
            http.Routes,
            grpc.Routes,
            files.Director.Value.AdhocRules,
            files.Director.Value.RateLimits,
            files.Director.Value.TokenIssuers,
            entries
        )

    let definitions (backends: BackendInfo array) = [ for backend in backends -> backend.Definition ]

    let pool =
        BackendPool(
            files.Pool.Value.TlsServerConfigs,
            {
                Http = definitions http.Backends
                Grpc = definitions grpc.Backends
            }
        )

    let routes: PerProtocol<IReadOnlyList<RouteInfo>> =
        {
            Http = http.RouteInfos
            Grpc = grpc.RouteInfos
        }

    let adhocRules: PerProtocol<IReadOnlyList<RouteInfo>> =
        {
            Http = http.AdhocInfos
            Grpc = grpc.AdhocInfos
        }

    let backends: PerProtocol<IReadOnlyList<BackendInfo>> =
        {
            Http = http.Backends
            Grpc = grpc.Backends
        }

    let httpTable = HttpRouteTable http.Routes
    let grpcTable = GrpcRouteTable grpc.Routes
    let matchedNames = MatchedNames.Of(http.Routes, grpc.Routes)

    member private _.HttpPart = http
    member private _.GrpcPart = grpc

    /// No rules, no backends.
    static member val Empty: Configuration = Configuration(LoadedFiles.Empty, ProtocolPart.Empty, ProtocolPart.Empty)

    /// Compiles the entries of the files, followed by the generated ones. A generated entry that is invalid, or whose
    /// backend name is taken, is omitted and reported; it does not affect the others.
    ///
    /// `before` does not change the result: for generated entries that are the same objects, its compiled form is
    /// reused, so that one change among ten thousand entries costs little.
    static member Build
        (files: LoadedFiles, generated: GeneratedEntries, before: Configuration)
        : struct (Configuration * ConfigError list) =
        let compilation = Compilation(files, generated, before.Pool)
        let http = compilation.Part(RouteKind.http, before.HttpPart)
        let grpc = compilation.Part(RouteKind.grpc, before.GrpcPart)
        struct (Configuration(files, http, grpc), compilation.Errors)

    /// Compiles the files alone.
    static member Build(files: LoadedFiles) : Configuration =
        let struct (configuration, _) =
            Configuration.Build(files, GeneratedEntries.Empty, Configuration.Empty)

        configuration

    /// Decodes, validates and compiles both files. See `LoadedFiles.Load`.
    static member Load
        (directorName: string, director: ReadOnlyMemory<byte>, poolName: string, pool: ReadOnlyMemory<byte>)
        : Loaded<Configuration> =
        LoadedFiles.Load(directorName, director, poolName, pool).Map(fun files -> Configuration.Build files)

    /// The files that it was compiled from, without generated entries.
    member _.Files: LoadedFiles = files

    /// All rules in their second shape, for explanations and analysis, with the same indexes as in the lists below.
    member _.Director: Director = director
    /// All backends in their second shape.
    member _.Pool: BackendPool = pool
    /// All rules as a `director.json`, and all backends as a `backendpool.json`, generated entries included. Loading
    /// both gives a configuration that treats every request like this one.
    member _.DirectorJson: string = Encode.director director.Entries

    member _.PoolJson: string =
        Encode.backendPool
            {
                TlsServerConfigs = pool.TlsServerConfigs
                Backends = pool.Backends
            }

    /// The positions of the rules in the director file.
    member _.DirectorSource: SourceMap = files.Director.Source
    /// The positions of the entries in the backend pool. The file name is empty when no pool was given.
    member _.PoolSource: SourceMap = files.Pool.Source

    member _.Routes: PerProtocol<IReadOnlyList<RouteInfo>> = routes
    /// The index in an `AdhocDecision` refers to these lists.
    member _.AdhocRules: PerProtocol<IReadOnlyList<RouteInfo>> = adhocRules
    member _.Backends: PerProtocol<IReadOnlyList<BackendInfo>> = backends

    /// Yields indexes into `Routes.Http`.
    member _.HttpRouteTable: HttpRouteTable = httpTable
    /// Yields indexes into `Routes.Grpc`.
    member _.GrpcRouteTable: GrpcRouteTable = grpcTable

    /// The headers and query parameters that its routes match on.
    member _.MatchedNames: MatchedNames = matchedNames

    /// What the ad-hoc rules of the protocol decide about a request that no route takes.
    member _.DecideAdhoc(protocol: Protocol, host: string, ports: AuthorityPorts) : AdhocDecision =
        Adhoc.decide director.AdhocRules[protocol] host ports
