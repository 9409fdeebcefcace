namespace Kedge.Domain.Discovery

open System.Collections.Generic
open Kedge.Domain

/// A route of the director file that takes every request for a host, port and methods. `Index` is its index in the list
/// of its protocol.
[<Struct>]
type private FileClaim =
    {
        Port: PortMatcher
        Methods: ServiceMatcher
        Index: int
        Backend: string
    }

/// What the configuration files claim, as far as it concerns generated routes.
[<Sealed>]
type internal FileClaims(files: LoadedFiles) =
    let director = files.Director.Value
    let pool = files.Pool.Value

    let takesEveryPath (rules: PathRule array) =
        rules.Length = 0
        || rules
           |> Array.exists (fun rule -> rule = PathPrefix "" || rule = PathPrefix "/")

    /// By host (`*.` and a name = a wildcard, "" = any), in the file's order.
    let byHost (claims: seq<struct (HostMatcher * FileClaim)>) =
        let claimsOf = Dictionary<string, ResizeArray<FileClaim>>()

        for struct (host, claim) in claims do
            let host =
                match host with
                | AnyHost -> ""
                | host -> host.Text

            match claimsOf.TryGetValue host with
            | true, list -> list.Add claim
            | _ -> claimsOf[host] <- ResizeArray [ claim ]

        claimsOf

    let claims: PerProtocol<Dictionary<string, ResizeArray<FileClaim>>> =
        {
            Http =
                byHost (
                    seq {
                        for index, route in Seq.indexed director.HttpRoutes do
                            if
                                takesEveryPath route.Paths
                                && route.Methods.Length = 0
                                && route.Query.Length = 0
                                && route.Headers.Length = 0
                                && route.Mode <> Decoded.ProxyMode.ForwardProxy
                                && route.Listener <> Decoded.Listener.Plain
                            then
                                struct (route.Host,
                                        {
                                            Port = route.Port
                                            Methods = AnyService
                                            Index = index
                                            Backend = route.Outcome.Action.Text
                                        })
                    }
                )
            Grpc =
                byHost (
                    seq {
                        for index, route in Seq.indexed director.GrpcRoutes do
                            if route.Metadata.Length = 0 && route.Listener <> Decoded.Listener.Plain then
                                struct (route.Host,
                                        {
                                            Port = route.Port
                                            Methods = ServicePattern.canonical route.Service
                                            Index = index
                                            Backend = route.Outcome.Action.Text
                                        })
                    }
                )
        }

    let backends =
        pool.Backends.Map(fun backends -> HashSet(backends |> Seq.map _.Name))

    member _.TlsConfigs: string list = pool.TlsServerConfigs |> List.map _.Name

    member _.HasBackend(protocol: Protocol, name: string) = backends[protocol].Contains name

    /// The first route that alone takes every request that the claim's route would take: its index in its list and its
    /// backend.
    member _.TryCovering(claim: Claim) : struct (int * string) voption =
        let claimsOf = claims[claim.Protocol]

        let firstOf (host: string) =
            match claimsOf.TryGetValue host with
            | true, list ->
                list
                |> Seq.tryFind (fun route ->
                    (route.Port = AnyPort || route.Port = ExactPort claim.Port)
                    && ServicePattern.covers route.Methods claim.Methods)
            | _ -> None

        // Most clusters' files claim nothing.
        let found =
            if claimsOf.Count = 0 then
                None
            else
                let host = HostMatcher.OfText claim.Host

                Seq.concat [ Seq.singleton claim.Host; host.Wildcards |> Seq.map _.Text; Seq.singleton "" ]
                |> Seq.choose firstOf
                |> Seq.sortBy _.Index
                |> Seq.tryHead

        match found with
        | Some route -> ValueSome(struct (route.Index, route.Backend))
        | None -> ValueNone
