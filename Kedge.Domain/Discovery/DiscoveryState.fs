namespace Kedge.Domain.Discovery

open Kedge.Domain

/// What discovery remembers about one service: its newest version, and the newest version that was good when it was
/// read.
///
/// `Join` keeps the greater version of each, so it is commutative, associative and idempotent: the order in which the
/// versions of a service arrive, and how often they do, makes no difference.
type internal ServiceMemory =
    {
        Newest: Service
        Reading: ServiceReading
        LastGood: struct (Service * ServiceReading) voption
    }

    /// The claims that count. A service does not inherit the claims of an earlier service of the same name.
    member memory.Claims =
        match memory.Reading.Faults, memory.LastGood with
        | [], _ -> memory.Reading.Claims
        | _, ValueSome(struct (good, reading)) when good.Uid = memory.Newest.Uid -> reading.Claims
        | _ -> []

    static member Of(service: Service, reading: ServiceReading) =
        {
            Newest = service
            Reading = reading
            LastGood =
                if reading.Faults.IsEmpty then
                    ValueSome(struct (service, reading))
                else
                    ValueNone
        }

    member memory.Join(later: ServiceMemory) =
        let isOlder (left: Service) (right: Service) =
            ResourceVersion.isOlder left.ResourceVersion right.ResourceVersion

        let lastGood =
            match memory.LastGood, later.LastGood with
            | ValueSome(struct (mine, _)), ValueSome(struct (other, _)) when isOlder other mine -> memory.LastGood
            | _, ValueSome _ -> later.LastGood
            | _, ValueNone -> memory.LastGood

        let newest = if isOlder later.Newest memory.Newest then memory else later
        { newest with LastGood = lastGood }

/// Everything that discovery knows. Immutable: each change returns the next state.
///
/// What it generates is a function of the files and of what it remembers about each service. So events of different
/// services commute; the versions of one service commute and may repeat; only the deletion of a service must come in
/// the order in which Kubernetes sends that service's events. When no version has a fault, the newest versions alone
/// decide.
[<Sealed>]
type DiscoveryState private (options: DiscoveryOptions, files: FileClaims, memories: Map<ServiceKey, ServiceMemory>) =

    let read (service: Service) = ServiceReading.ofService options files.TlsConfigs service

    member _.Options = options

    /// The number of known services, exposed or not.
    member _.ServiceCount = memories.Count

    /// No service yet. The routes of the files win over generated ones, their backends keep their names, and an
    /// annotation may name their `tls_server_configs`.
    static member Create(options: DiscoveryOptions, files: LoadedFiles) =
        DiscoveryState(options, FileClaims files, Map.empty)

    /// The files have changed. A last good version is no longer good when it names a TLS configuration that no longer
    /// exists.
    member _.WithFiles(changed: LoadedFiles) : DiscoveryState =
        let next = FileClaims changed
        let read = ServiceReading.ofService options next.TlsConfigs

        let again (_: ServiceKey) (memory: ServiceMemory) =
            let now = ServiceMemory.Of(memory.Newest, read memory.Newest)

            match now.LastGood, memory.LastGood with
            | ValueNone, ValueSome(struct (good, _)) ->
                { now with
                    LastGood = ServiceMemory.Of(good, read good).LastGood
                }
            | _ -> now

        if next.TlsConfigs = files.TlsConfigs then
            DiscoveryState(options, next, memories)
        else
            DiscoveryState(options, next, memories |> Map.map again)

    /// A full list: services that are not in it no longer exist. The last good versions of the others are kept.
    /// Versions are not compared: an API server that was restored from a backup continues from an earlier number.
    member _.Replace(services: seq<Service>) : DiscoveryState =
        let next =
            (Map.empty, services)
            ||> Seq.fold (fun next service ->
                let key = service.Key
                let now = ServiceMemory.Of(service, read service)

                match now.LastGood, memories.TryFind key with
                | ValueNone,
                  Some {
                           LastGood = ValueSome(struct (good, reading))
                       } ->
                    let good =
                        if ResourceVersion.isOlder good.ResourceVersion service.ResourceVersion then
                            good
                        else
                            { good with ResourceVersion = "" }

                    next.Add(
                        key,
                        { now with
                            LastGood = ValueSome(struct (good, reading))
                        }
                    )
                | _ -> next.Add(key, now))

        DiscoveryState(options, files, next)

    /// A service that was added or changed. A version older than the known one has no effect.
    member _.Upsert(service: Service) : DiscoveryState =
        let now = ServiceMemory.Of(service, read service)

        let now =
            match memories.TryFind service.Key with
            | Some memory -> memory.Join now
            | None -> now

        DiscoveryState(options, files, memories.Add(service.Key, now))

    /// A service that was deleted, or has lost its label.
    member _.Delete(key: ServiceKey) : DiscoveryState = DiscoveryState(options, files, memories.Remove key)

    member _.Generate() : Generated =
        memories
        |> Seq.map (fun entry -> struct (entry.Key, entry.Value.Reading, entry.Value.Claims))
        |> Settlement.generate files
