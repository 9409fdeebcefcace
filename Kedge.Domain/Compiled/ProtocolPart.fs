namespace Kedge.Domain

open System.Collections.Generic

/// One protocol's part of a configuration.
[<NoEquality; NoComparison>]
type internal ProtocolPart<'entry, 'route> =
    {
        /// The file's routes, then the generated ones.
        Routes: 'route array
        /// Of `Routes`, at the same indexes.
        RouteInfos: RouteInfo array
        AdhocInfos: RouteInfo array
        /// The file's backends, then the generated ones.
        Backends: BackendInfo array
        FileBackendCount: int
        /// The generated routes in their first shape; they are the last of `Routes`.
        GeneratedRoutes: 'entry array
    }

    static member Empty: ProtocolPart<'entry, 'route> =
        {
            Routes = [||]
            RouteInfos = [||]
            AdhocInfos = [||]
            Backends = [||]
            FileBackendCount = 0
            GeneratedRoutes = [||]
        }

/// What compilation needs to know about the routes of a protocol, so that its code is written only once.
[<NoEquality; NoComparison>]
type internal RouteKind<'entry, 'route> =
    {
        Protocol: Protocol
        OfFile: Director -> 'route array
        Generated: GeneratedEntries -> 'entry list
        Validate: Checks -> Step list -> 'entry -> 'route
        Outcome: 'route -> Outcome
        Marks: 'route -> RouteMarks
        Text: 'route -> string
    }

[<RequireQualifiedAccess>]
module internal RouteKind =

    let http: RouteKind<Decoded.HttpRoute, HttpRoute> =
        {
            Protocol = Protocol.Http
            OfFile = _.HttpRoutes
            Generated = _.HttpRoutes
            Validate = Director.httpRoute
            Outcome = _.Outcome
            Marks = _.Marks
            Text = _.Text
        }

    let grpc: RouteKind<Decoded.GrpcRoute, GrpcRoute> =
        {
            Protocol = Protocol.Grpc
            OfFile = _.GrpcRoutes
            Generated = _.GrpcRoutes
            Validate = Director.grpcRoute
            Outcome = _.Outcome
            Marks = _.Marks
            Text = _.Text
        }

/// One compilation: its input, and the generated entries that it rejects.
[<Sealed>]
type internal Compilation(files: LoadedFiles, generated: GeneratedEntries, before: BackendPool) =
    let pool = files.Pool.Value
    let rejected = ResizeArray<Violation>()

    let tlsConfigs =
        pool.TlsServerConfigs
        |> Seq.map (fun config -> config.Name, config)
        |> Map.ofSeq

    let tlsConfigNames = tlsConfigs |> Map.keys |> Set.ofSeq

    // The validity of a backend depends on these.
    let hasSameTlsConfigs =
        obj.ReferenceEquals(pool.TlsServerConfigs, before.TlsServerConfigs)

    /// The result of the check; None when the entry is invalid, which is then reported.
    let valid (check: Checks -> 'value) : 'value option =
        let checks = Checks()
        let value = check checks

        if checks.Violations.IsEmpty then
            Some value
        else
            rejected.AddRange checks.Violations
            None

    /// The valid generated routes, each with its first shape and, if the previous configuration had it, its compiled
    /// form there.
    let generatedRoutes (kind: RouteKind<'entry, 'route>) (before: ProtocolPart<'entry, 'route>) =
        let previous =
            PreviousEntries(before.GeneratedRoutes.Length, (fun i -> before.GeneratedRoutes[i]))

        let fileCount = before.Routes.Length - before.GeneratedRoutes.Length
        let list = [ Field "routes"; Field kind.Protocol.Section ]
        let routes = ResizeArray()

        kind.Generated generated
        |> List.iteri (fun i entry ->
            match previous.IndexOf entry with
            | -1 ->
                valid (fun checks -> kind.Validate checks (Step.Index i :: list) entry)
                |> Option.iter (fun route -> routes.Add(struct (entry, route, ValueNone)))
            | index ->
                let index = fileCount + index
                routes.Add(struct (entry, before.Routes[index], ValueSome before.RouteInfos[index])))

        routes.ToArray()

    /// The file's backends, then the valid generated ones whose names are not taken.
    let backends (protocol: Protocol) (before: ProtocolPart<'entry, 'route>) : Decoded.Backend list =
        let own = pool.Backends[protocol]
        let entries = generated.Backends[protocol]
        let list = [ Field "backends"; Field protocol.Section ]

        let previous =
            PreviousEntries(
                (if hasSameTlsConfigs then
                     before.Backends.Length - before.FileBackendCount
                 else
                     0),
                (fun i -> before.Backends[before.FileBackendCount + i].Definition)
            )

        let taken = HashSet<string>(own.Length + entries.Length)

        for backend in own do
            taken.Add backend.Name |> ignore

        let validate path (entry: Decoded.Backend) (checks: Checks) =
            BackendPool.backend checks path protocol tlsConfigNames entry

            if checks.Violations.IsEmpty && not (taken.Add entry.Name) then
                checks.Malformed(Field "name" :: path, "the name is taken by another backend", entry.Name)

            entry

        let added = ResizeArray entries.Length

        entries
        |> List.iteri (fun i entry ->
            if previous.IndexOf entry >= 0 && taken.Add entry.Name then
                added.Add entry
            else
                valid (validate (Step.Index i :: list) entry) |> Option.iter added.Add)

        own @ List.ofSeq added

    let backendInfo index (backend: Decoded.Backend) =
        let tls: UpstreamTls | null =
            match backend.Security with
            | Some security -> UpstreamTls.Of(security, tlsConfigs.TryFind security.ConfigName)
            | None -> null

        BackendInfo(index, backend, tls)

    /// The errors in generated entries, which are in no file.
    member _.Errors: ConfigError list =
        let source = SourceMap.None "generated"

        [
            for violation in rejected ->
                {
                    At = source.Locate violation.Path
                    Problem = violation.Problem
                }
        ]

    /// One protocol's part, given the same part of the previous configuration.
    member _.Part
        (kind: RouteKind<'entry, 'route>, before: ProtocolPart<'entry, 'route>)
        : ProtocolPart<'entry, 'route> =
        let director = files.Director
        let fileRoutes = kind.OfFile director.Value
        let generatedRoutes = generatedRoutes kind before

        let backends = backends kind.Protocol before |> Seq.mapi backendInfo |> Seq.toArray

        let backendIndexes = Dictionary<string, int> backends.Length

        for backend in backends do
            backendIndexes[backend.Name] <- backend.Index

        let backendIndex name =
            match backendIndexes.TryGetValue name with
            | true, index -> index
            | _ -> -1

        let line list index =
            director.Source.Line [ Field kind.Protocol.Section; Field list; Step.Index index ]

        let routeInfo index file line (route: 'route) =
            let outcome = kind.Outcome route

            let backend =
                match outcome.Action with
                | ToBackend backend -> backend
                | _ -> ""

            let marks = kind.Marks route
            let text = kind.Text route

            let split: RouteSplit | null =
                match outcome.Action with
                | Splits split ->
                    let names = split.Backends |> Seq.map _.Name |> Seq.toArray

                    {
                        Choice = SplitChoice(split, (if marks.Name = "" then text else marks.Name))
                        Names = names
                        BackendIndexes = Array.map backendIndex names
                        Filters =
                            names
                            |> Array.map (fun name ->
                                let own = outcome.BackendFilters.TryFind name

                                let all = outcome.Filters.Then(Option.defaultValue Filters.None own)

                                if all.IsNone then null else all)
                    }
                | _ -> null

            let mirrors: MirrorTarget array | null =
                if outcome.Mirrors.IsEmpty then
                    null
                else
                    [|
                        for mirror in outcome.Mirrors do
                            {
                                Choice = MirrorChoice(mirror, (if marks.Name = "" then text else marks.Name))
                                BackendIndex = backendIndex mirror.Backend
                            }
                    |]

            {
                Index = index
                Name = marks.Name
                Action = outcome.Action
                Split = split
                Mirrors = mirrors
                BackendName = backend
                BackendIndex = backendIndex backend
                Autogenerated = marks.Autogenerated
                File = file
                Line = line
                Rule = text
                Demands = RouteDemands.Of(outcome.Demands, outcome.Issuers)
                DemandsText = RouteDemands.Describe outcome.Demands
                Filters = if outcome.Filters.IsNone then null else outcome.Filters
                Policies = if outcome.Policies.IsNone then null else outcome.Policies
                Limits = if outcome.Limits.IsNone then null else outcome.Limits
            }

        let generatedInfo i (struct (_, route, previous: RouteInfo voption)) =
            let index = fileRoutes.Length + i

            match previous with
            | ValueSome info when isNull (box info.Split) && isNull (box info.Mirrors) ->
                info.At(index, backendIndex info.BackendName)
            | _ -> routeInfo index "" 0 route

        let adhocInfo index (rule: AdhocRule) =
            {
                Index = index
                Name = ""
                Action = null
                Split = null
                Mirrors = null
                BackendName = ""
                BackendIndex = -1
                Autogenerated = false
                File = director.Source.File
                Line = line "adhoc_rules" index
                Rule = rule.Text
                Demands =
                    RouteDemands.Of(
                        rule.Authorization,
                        IssuerRules.named director.Value.TokenIssuers rule.Authorization
                    )
                DemandsText = RouteDemands.Describe rule.Authorization
                Filters = null
                Policies = null
                Limits = null
            }

        {
            Routes = Array.append fileRoutes (generatedRoutes |> Array.map (fun (struct (_, route, _)) -> route))
            RouteInfos =
                Array.append
                    (fileRoutes
                     |> Array.mapi (fun index route -> routeInfo index director.Source.File (line "routes" index) route))
                    (generatedRoutes |> Array.mapi generatedInfo)
            AdhocInfos = director.Value.AdhocRules[kind.Protocol] |> Array.mapi adhocInfo
            Backends = backends
            FileBackendCount = pool.Backends[kind.Protocol].Length
            GeneratedRoutes = generatedRoutes |> Array.map (fun (struct (entry, _, _)) -> entry)
        }
