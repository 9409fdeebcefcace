namespace Kedge.Tests.Kubernetes

open System
open System.Collections.Concurrent
open System.Collections.Generic
open Microsoft.Extensions.Logging.Abstractions
open Kedge.Domain
open Kedge.Domain.Discovery
open Kedge.Host.Backends
open Kedge.Host.Resolvers
open Kedge.Host.Flags
open Kedge.Host.Kubernetes
open Kedge.Tests.Harness

/// Objects as an API server has them.
[<RequireQualifiedAccess>]
module Manifest =

    /// A service whose ports are `(name, port, targetPort)`.
    let serviceWith
        (labels: string)
        (annotations: string)
        (space: string)
        (name: string)
        (ports: (string * int * string) list)
        =
        let ports =
            ports
            |> List.map (fun (name, port, target) ->
                $"""{{"name":"{name}","port":{port},"protocol":"TCP","targetPort":{target}}}""")

        let ports = String.Join(",", ports)

        Put
            $"""{{"kind":"Service","apiVersion":"v1","metadata":{{"namespace":"{space}","name":"{name}","labels":{{{labels}}},"annotations":{{{annotations}}}}},"spec":{{"ports":[{ports}]}}}}"""

    let exposed (space: string) (name: string) ports =
        serviceWith "\"kedge.com/kedge-exposed\":\"true\"" "" space name ports

    let unlabelled (space: string) (name: string) ports = serviceWith "\"app\":\"x\"" "" space name ports

    /// A slice of a service with one port; each endpoint is an address and its conditions.
    let slice space name service (portName: string) (port: int) (endpoints: (string * string) list) =
        let endpoints =
            endpoints
            |> List.map (fun (address, conditions) ->
                $"""{{"addresses":["{address}"],"conditions":{{{conditions}}}}}""")

        let endpoints = String.Join(",", endpoints)

        Put
            $"""{{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{{"namespace":"{space}","name":"{name}","labels":{{"kubernetes.io/service-name":"{service}"}}}},"addressType":"IPv4","ports":[{{"name":"{portName}","port":{port},"protocol":"TCP"}}],"endpoints":[{endpoints}]}}"""

    /// As the cluster makes it of pods that lack the target port.
    let sliceWithoutPorts space name service (addresses: string list) =
        let endpoints =
            addresses
            |> List.map (fun address -> $"""{{"addresses":["{address}"],"conditions":{{"ready":true}}}}""")

        let endpoints = String.Join(",", endpoints)

        Put
            $"""{{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{{"namespace":"{space}","name":"{name}","labels":{{"kubernetes.io/service-name":"{service}"}}}},"addressType":"IPv4","ports":null,"endpoints":[{endpoints}]}}"""

    /// A slice of host names.
    let sliceOfHosts space name service (portName: string) (port: int) (host: string) =
        Put
            $"""{{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{{"namespace":"{space}","name":"{name}","labels":{{"kubernetes.io/service-name":"{service}"}}}},"addressType":"FQDN","ports":[{{"name":"{portName}","port":{port},"protocol":"TCP"}}],"endpoints":[{{"addresses":["{host}"]}}]}}"""

    /// The conditions of a pod that is about to end and still serves.
    let terminating = "\"ready\":false,\"serving\":true,\"terminating\":true"

    let ready = "\"ready\":true"
    let unready = "\"ready\":false"

/// Everything that a resolver has said.
type RecordingSink() =
    let answers = ConcurrentQueue<string list>()
    let errors = ConcurrentQueue<string>()
    let mutable terminating = false

    /// Whether the last endpoints are the last resort.
    member _.AreTerminating = terminating

    /// Each answer: the endpoints in order, `address:port`.
    member _.Answers = List.ofSeq answers
    member _.Errors = List.ofSeq errors
    member _.Last = Seq.tryLast answers

    interface IEndpointSink with
        member _.Resolved(endpoints: IReadOnlyList<ResolvedEndpoint>, areTerminating: bool) =
            terminating <- areTerminating
            answers.Enqueue(endpoints |> Seq.map (fun e -> string e.Address) |> List.ofSeq)

        member _.Missing(reason: string) =
            answers.Enqueue []
            errors.Enqueue reason

        member _.Failed(error: string) = errors.Enqueue error

/// An API server, and a cluster that looks at it.
type ClusterStage(silence: TimeSpan, change: KubernetesOptions -> KubernetesOptions, startsAtOnce: bool) =
    let scratch = new Scratch()
    let token = scratch.Write("token", "first\n")
    let authority = Certificates.authority.Value
    let server = new ApiServerDouble(authority.Server(), Token = "first")
    let stop = new Threading.CancellationTokenSource()

    let options =
        KubernetesOptions(server.Url, false, authority.File, token, "", "", TimeSpan.FromSeconds 10.0, silence)
        |> change

    let cluster = new KubernetesCluster(options, NullLoggerFactory.Instance, null)

    do
        if startsAtOnce then
            server.Start()

    new() = new ClusterStage(TimeSpan.FromMinutes 5.0, id, true)

    member _.Server = server
    member _.Cluster = cluster
    member _.Scratch = scratch
    member _.TokenFile = token

    /// Starts to resolve; the sink hears of every answer.
    member _.Resolve(dnsPortName: string, generated: bool) : RecordingSink =
        let sink = RecordingSink()
        cluster.ResolverOf(dnsPortName, generated).RunAsync(sink, stop.Token) |> ignore
        sink

    member _.Discover() : DiscoverySource =
        match DiscoveryOptions.Create("kedge.com/", "ext.example.com", "{service}.{suffix}") with
        | Ok options -> cluster.Discover(options, silence)
        | Error errors -> failwith $"{errors}"

    /// The health of a watch, once it has begun.
    member _.Watch(name: string) : WatchHealth = cluster.Watches |> Seq.find (fun watch -> watch.Name = name)

    interface IDisposable with
        member _.Dispose() =
            stop.Cancel()
            cluster.DisposeAsync().AsTask().GetAwaiter().GetResult()
            (server :> IDisposable).Dispose()
            (scratch :> IDisposable).Dispose()
