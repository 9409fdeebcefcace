namespace Kedge.Domain.Discovery

open Kedge.Domain.Decoded

/// What is remembered of one service: its newest version, and the newest that was good when it was read.
///
/// Both are the greater of two by version, so `join` is commutative, associative and idempotent: the order in which the
/// versions of a service arrive, and how often, makes no difference.
type internal ServiceMemory =
    {
        Newest: Service
        Reading: ServiceReading
        LastGood: struct (Service * ServiceReading) voption
    }

    /// The claims that count. An earlier service of the same name lends none to its successor.
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

/// All that discovery knows. Immutable: each change gives the next state.
///
/// What it generates is a function of the files and of what is remembered of each service. So events of different
/// services commute; the versions of one service commute and may repeat; only a service's deletion must come in that
/// service's own order, as Kubernetes sends it. Where no version has a fault, the newest versions alone decide.
[<Sealed>]
type DiscoveryState private (options: DiscoveryOptions, files: FileClaims, memories: Map<ServiceKey, ServiceMemory>) =

    let read (service: Service) = ServiceReading.ofService options files.TlsConfigs service

    member _.Options = options

    /// How many services are known, exposed or not.
    member _.ServiceCount = memories.Count

    /// No service yet. The files are what is not generated: their routes win, their backends keep their names, and
    /// their `tls_server_configs` are those that an annotation may name.
    static member Create(options: DiscoveryOptions, director: Director, pool: BackendPool) =
        DiscoveryState(options, FileClaims(director, pool), Map.empty)

    /// The files have changed. A last good version that names a TLS configuration that is gone is good no more.
    member _.WithFiles(director: Director, pool: BackendPool) : DiscoveryState =
        let next = FileClaims(director, pool)
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

    /// A full list: what is not in it is gone. Of the rest, the last good versions are kept. Versions are not compared:
    /// an API server that was restored from a backup counts from an earlier number.
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

    /// A service that was added or has changed. A version older than the known one is no news.
    member _.Upsert(service: Service) : DiscoveryState =
        let now = ServiceMemory.Of(service, read service)

        let now =
            match memories.TryFind service.Key with
            | Some memory -> memory.Join now
            | None -> now

        DiscoveryState(options, files, memories.Add(service.Key, now))

    /// A service that is gone, or has no label any more.
    member _.Delete(key: ServiceKey) : DiscoveryState = DiscoveryState(options, files, memories.Remove key)

    member _.Generate() : Generated =
        memories
        |> Seq.map (fun entry -> struct (entry.Key, entry.Value.Reading, entry.Value.Claims))
        |> Settlement.generate files
