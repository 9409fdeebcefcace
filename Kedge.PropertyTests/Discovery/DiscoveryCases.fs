/// Services and their histories, drawn from few names so that they collide.
module Kedge.PropertyTests.DiscoveryCases

open System
open FsCheck
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Discovery

let options =
    match DiscoveryOptions.Create("kedge.com/", "ext.example.com", "{service}.{suffix}") with
    | Ok options -> options
    | Error errors -> failwith $"{errors}"

let emptyDirector: Decoded.Director =
    {
        HttpRoutes = []
        GrpcRoutes = []
        AdhocRules = PerProtocol.Both []
        RateLimits = []
        RateLimitHeaders = false
        TokenIssuers = []
    }

/// The only `tls_server_configs` entry that an annotation may name.
let pool: Decoded.BackendPool =
    {
        TlsServerConfigs =
            [
                {
                    Name = "internal_ca"
                    CaFiles = []
                    ServerName = ""
                    ClientCertFile = ""
                    ClientKeyFile = ""
                    MinVersion = Decoded.TlsVersion.Tls12
                }
            ]
        Backends = PerProtocol.Both []
    }

/// The files as they are loaded; they must be valid.
let files (director: Decoded.Director) (pool: Decoded.BackendPool) : LoadedFiles =
    let bytes (text: string) = ReadOnlyMemory(Text.Encoding.UTF8.GetBytes text)

    let loaded =
        LoadedFiles.Load(
            "director.json",
            bytes (Encode.director director),
            "backendpool.json",
            bytes (Encode.backendPool pool)
        )

    match loaded.Value with
    | null -> failwith $"{List.ofSeq loaded.Errors}"
    | files -> files

let start = DiscoveryState.Create(options, files emptyDirector pool)

let private often good bad = Gen.frequency [ 8, Gen.elements good; 1, Gen.elements bad ]

let names = [ "a"; "b"; "a-b"; "b-a" ]

let port: Gen<ServicePort> =
    gen {
        let! name =
            Gen.frequency
                [
                    4, Gen.elements [ "http"; "http-a"; "httptls"; "httptls-a" ]
                    4, Gen.elements [ "grpc"; "grpc-b"; "grpctls-c" ]
                    1, Gen.elements [ "metrics"; ""; "https"; "httpx" ]
                ]

        let! number =
            Gen.frequency [ 40, Gen.elements [ 80; 443; 8080 ]; 1, Gen.elements [ 0; 70000 ] ]

        let! target =
            Gen.frequency
                [
                    10, Gen.constant ValueNone
                    20, Gen.elements [ ValueSome(TargetNumber 80); ValueSome(TargetNumber 8080) ]
                    20, Gen.elements [ ValueSome(TargetName "a"); ValueSome(TargetName "a-b") ]
                    1,
                    Gen.elements
                        [
                            ValueSome(TargetName "8080")
                            ValueSome(TargetName "a_b")
                            ValueSome(TargetNumber 0)
                        ]
                ]

        let! protocol = Gen.frequency [ 12, Gen.constant "TCP"; 1, Gen.constant "UDP" ]

        return
            {
                Name = name
                Port = number
                TargetPort = target
                Protocol = protocol
            }
    }

/// One version of a service, exposed or not, perhaps with a fault.
let versionOf (key: ServiceKey) (version: int) : Gen<Service> =
    gen {
        let annotation name good bad =
            Gen.frequency
                [
                    1, Gen.constant []
                    1, often good bad |> Gen.map (fun value -> [ options.Prefix + name, value ])
                ]

        let! count = Gen.choose (0, 3)
        let! ports = Gen.listOfLength count port
        let! created = Gen.choose (0, 3)

        let! label =
            Gen.frequency
                [
                    10, Gen.constant [ options.ExposedLabel, "true" ]
                    1, Gen.constant [ options.ExposedLabel, "" ]
                    1, Gen.constant [ options.ExposedLabel, "false" ]
                    1, Gen.constant []
                ]

        let! host =
            annotation
                "host-matcher"
                [ "one.example"; "TWO.example."; "*.example"; "*.two.example" ]
                [ ""; "a b"; "*x.example"; "a:80" ]

        let! methods =
            annotation "service-name-matcher" [ "*"; "p.S"; "p.*"; "p.S/*"; "p.S/Get" ] [ ""; "/x"; "a b" ]

        let! tls = annotation "tls-config" [ "internal_ca" ] [ ""; "unknown" ]

        let! kind =
            Gen.frequency
                [
                    10, Gen.constant ""
                    5, Gen.constant "ClusterIP"
                    1, Gen.constant "ExternalName"
                ]

        return
            {
                Namespace = key.Namespace
                Name = key.Name
                Uid = "1"
                Created = DateTimeOffset.UnixEpoch.AddDays created
                Labels = Map.ofList label
                Annotations = Map.ofList (host @ methods @ tls)
                Type = kind
                Ports = ports
                ResourceVersion = string version
            }
    }

let isGood (service: Service) = (ServiceReading.ofService options [ "internal_ca" ] service).Faults.IsEmpty

/// A version without a fault, made by dropping what is wrong.
let repaired (service: Service) =
    let ports =
        service.Ports
        |> List.filter (fun port ->
            isGood
                { service with
                    Ports = [ port ]
                    Annotations = Map.empty
                })

    let annotations =
        service.Annotations
        |> Map.filter (fun key value ->
            isGood
                { service with
                    Ports = []
                    Annotations = Map.ofList [ key, value ]
                })

    { service with
        Ports = ports
        Annotations = annotations
    }

let keys: ServiceKey list =
    [
        for space in names do
            for name in names do
                { Namespace = space; Name = name }
    ]

/// Services of different names.
let services: Gen<Service list> =
    gen {
        let! count = Gen.choose (2, 8)
        let! keys = Gen.shuffle keys

        return!
            keys
            |> Array.truncate count
            |> Array.toList
            |> List.map (fun key -> versionOf key 1)
            |> Gen.sequenceToList
    }

let goodServices = services |> Gen.map (List.map repaired)

type Event =
    | Upserted of Service
    | Deleted of ServiceKey

    member event.Key =
        match event with
        | Upserted service -> service.Key
        | Deleted key -> key

let apply (state: DiscoveryState) (event: Event) =
    match event with
    | Upserted service -> state.Upsert service
    | Deleted key -> state.Delete key

/// Several versions of a few services, in their order, without deletions.
let versions: Gen<Service list> =
    gen {
        let! keys = Gen.shuffle keys

        let! histories =
            keys
            |> Array.truncate 4
            |> Array.toList
            |> List.map (fun key ->
                gen {
                    let! count = Gen.choose (1, 4)
                    let! versions = [ 1..count ] |> List.map (versionOf key) |> Gen.sequenceToList
                    return versions
                })
            |> Gen.sequenceToList

        return List.concat histories
    }

/// The history of each of a few services, deletions among it.
let histories: Gen<Event list list> =
    gen {
        let! versions = versions

        return!
            versions
            |> List.groupBy (fun service -> service.Key)
            |> List.map (fun (key, versions) ->
                gen {
                    let! deleteAfter = Gen.choose (0, 6)

                    return
                        versions
                        |> List.indexed
                        |> List.collect (fun (index, service) ->
                            if index = deleteAfter then
                                [ Upserted service; Deleted key ]
                            else
                                [ Upserted service ])
                })
            |> Gen.sequenceToList
    }

/// A merge of the lists that keeps the order of each.
let rec interleaved (lists: 'a list list) : Gen<'a list> =
    gen {
        match lists |> List.filter (not << List.isEmpty) with
        | [] -> return []
        | lists ->
            let! chosen = Gen.choose (0, lists.Length - 1)
            let head = lists[chosen].Head
            let rest = lists |> List.mapi (fun i list -> if i = chosen then list.Tail else list)
            let! tail = interleaved rest
            return head :: tail
    }

/// Files whose routes collide with generated ones, some with further conditions.
let director: Gen<Decoded.Director> =
    gen {
        let! count = Gen.choose (1, 5)

        let! hosts =
            Gen.frequency
                [
                    12, Gen.elements [ "a.ext.example.com"; "B.ext.example.com."; "one.example"; "two.example" ]
                    3, Gen.elements [ ""; "other.example"; "*.example"; "*.ext.example.com" ]
                ]
            |> Gen.listOfLength count

        let! ports = Gen.listOfLength hosts.Length (Gen.elements [ 0u; 80u; 443u; 8080u ])

        let! paths =
            Gen.listOfLength hosts.Length (Gen.elements [ []; []; [ "/api/*" ]; [ "/*" ] ])

        let! methods =
            Gen.listOfLength hosts.Length (Gen.elements [ ""; "*"; "p.S"; "p.*"; "p.S/Get"; "q.*" ])

        let! modes =
            Gen.listOfLength
                hosts.Length
                (Gen.elements
                    [
                        Decoded.ProxyMode.Any
                        Decoded.ProxyMode.ReverseProxy
                        Decoded.ProxyMode.ForwardProxy
                    ])

        return
            { emptyDirector with
                HttpRoutes =
                    [
                        for i in 0 .. hosts.Length - 1 do
                            ({
                                Name = ""
                                BackendName = $"file{i}"
                                Backends = []
                                SplitBy = None
                                OnUnavailable = Decoded.OnUnavailable.Fail
                                Mirror = []
                                HostMatcher = hosts[i]
                                PortMatcher = ports[i]
                                Methods = []
                                PathRules = paths[i]
                                QueryMatcher = Map.empty
                                HeaderMatcher = Map.empty
                                ProxyMode = modes[i]
                                Rewrite = None
                                RequestHeaders = None
                                ResponseHeaders = None
                                Listener = Decoded.Listener.Tls
                                Redirect = None
                                Respond = None
                                Timeouts = None
                                Retry = None
                                Autogenerated = false
                                Authorization = None
                                RateLimits = []
                                RateLimitHeaders = false
                            }
                            : Decoded.HttpRoute)
                    ]
                GrpcRoutes =
                    [
                        for i in 0 .. hosts.Length - 1 do
                            ({
                                Name = ""
                                BackendName = $"file{i}"
                                Backends = []
                                SplitBy = None
                                OnUnavailable = Decoded.OnUnavailable.Fail
                                Mirror = []
                                ServiceNameMatcher = methods[i]
                                AuthorityHostMatcher = hosts[i]
                                AuthorityPortMatcher = ports[i]
                                MetadataMatcher =
                                    if paths[i].Length = 1 then
                                        Map.ofList [ "k", Decoded.HeaderCondition.Is "v" ]
                                    else
                                        Map.empty
                                Rewrite = None
                                RequestHeaders = None
                                ResponseHeaders = None
                                Listener = Decoded.Listener.Tls
                                Respond = None
                                Timeouts = None
                                Retry = None
                                Autogenerated = false
                                Authorization = None
                                RateLimits = []
                                RateLimitHeaders = false
                            }
                            : Decoded.GrpcRoute)
                    ]
            }
    }
