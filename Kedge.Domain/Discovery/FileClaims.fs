namespace Kedge.Domain.Discovery

open System.Collections.Generic
open Kedge.Domain
open Kedge.Domain.Decoded

/// What the configuration files claim, as far as it bears on generated routes.
[<Sealed>]
type internal FileClaims(director: Director, pool: BackendPool) =

    /// A matcher that no text can be makes a file invalid, and such a file is never in force.
    let host (text: string) =
        match HostMatcher.tryParse text with
        | Ok(ExactHost host) -> host
        | _ -> ""

    let takesEveryPath (rules: string list) =
        rules.IsEmpty || rules |> List.exists (fun rule -> rule = "*" || rule = "/*")

    /// The routes that ask for nothing but host, port and method, by host ("" = any), in the file's order.
    let index (routes: seq<struct (string * uint32 * ServiceMatcher * int * string)>) =
        let byHost =
            Dictionary<string, ResizeArray<struct (uint32 * ServiceMatcher * int * string)>>()

        for struct (host, port, methods, place, backend) in routes do
            match byHost.TryGetValue host with
            | true, list -> list.Add(struct (port, methods, place, backend))
            | _ -> byHost[host] <- ResizeArray [ struct (port, methods, place, backend) ]

        byHost

    let http =
        index (
            seq {
                for place, route in List.indexed director.HttpRoutes do
                    if
                        takesEveryPath route.PathRules
                        && route.HeaderMatcher.IsEmpty
                        && route.ProxyMode <> ProxyMode.ForwardProxy
                    then
                        struct (host route.HostMatcher, route.PortMatcher, AnyService, place, route.BackendName)
            }
        )

    let grpc =
        index (
            seq {
                for place, route in List.indexed director.GrpcRoutes do
                    match ServiceMatcher.tryParse route.ServiceNameMatcher with
                    | Ok methods when route.MetadataMatcher.IsEmpty ->
                        struct (host route.AuthorityHostMatcher,
                                route.AuthorityPortMatcher,
                                ServicePattern.canonical methods,
                                place,
                                route.BackendName)
                    | _ -> ()
            }
        )

    let names (backends: Backend list) = HashSet(backends |> Seq.map (fun backend -> backend.Name))

    let httpBackends = names pool.HttpBackends
    let grpcBackends = names pool.GrpcBackends

    member _.TlsConfigs: string list =
        pool.TlsServerConfigs |> List.map (fun config -> config.Name)

    member _.HasBackend(protocol: Protocol, name: string) =
        match protocol with
        | Protocol.Http -> httpBackends.Contains name
        | Protocol.Grpc -> grpcBackends.Contains name

    /// The first route that takes every request that the claim's would take, alone: its place in its list and its
    /// backend.
    member _.TryCovering(claim: Claim) : struct (int * string) voption =
        let byHost =
            match claim.Protocol with
            | Protocol.Http -> http
            | Protocol.Grpc -> grpc

        let firstOf (host: string) =
            match byHost.TryGetValue host with
            | true, list ->
                list
                |> Seq.tryFind (fun struct (port, methods, _, _) ->
                    (port = 0u || port = uint32 claim.Port)
                    && ServicePattern.covers methods claim.Methods)
                |> Option.map (fun struct (_, _, place, backend) -> struct (place, backend))
            | _ -> None

        if byHost.Count = 0 then
            ValueNone
        else

            match firstOf claim.Host, firstOf "" with
            | Some(struct (exact, _)), Some(struct (any, backend)) when any < exact -> ValueSome(struct (any, backend))
            | Some found, _
            | None, Some found -> ValueSome found
            | None, None -> ValueNone
