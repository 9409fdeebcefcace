namespace Kedge.Domain.Discovery

open System
open System.Collections.Generic
open Kedge.Domain

type AddressType =
    | IPv4
    | IPv6
    /// Host names, or an unknown type. Like the cluster's own proxies, kedge does not use these.
    | OtherAddress

type SlicePort =
    {
        /// The name of the service's port; empty without a name.
        Name: string
        /// ValueNone = every port.
        Number: uint16 voption
    }

type SliceEndpoint =
    {
        /// The first address; all addresses of an endpoint are equivalent.
        Address: string
        /// ValueNone = unknown, which counts as ready.
        Ready: bool voption
        /// Whether it responds, even while it terminates. ValueNone = unknown, which counts as serving.
        Serving: bool voption
        Terminating: bool voption
        /// Identifies the pod; empty when it is not a pod. A pod with addresses of two families is in two slices.
        Pod: string
    }

    /// Whether it can take requests.
    member endpoint.IsUsable =
        endpoint.Ready <> ValueSome false && endpoint.Terminating <> ValueSome true

    /// Whether it is terminating but still accepts requests.
    member endpoint.IsLastResort =
        endpoint.Serving <> ValueSome false && endpoint.Terminating = ValueSome true

/// The parts of a `discovery.k8s.io/v1` EndpointSlice that a resolver reads.
type EndpointSlice =
    {
        Namespace: string
        Name: string
        /// The service that it belongs to.
        Service: string
        AddressType: AddressType
        /// TCP only.
        Ports: SlicePort list
        Endpoints: SliceEndpoint list
        ResourceVersion: string
    }

/// An address that requests can be sent to.
[<Struct; CustomEquality; CustomComparison>]
type Endpoint =
    {
        /// An IP address.
        Address: string
        Port: uint16
    }

    member endpoint.CompareTo(other: Endpoint) =
        let address = String.CompareOrdinal(endpoint.Address, other.Address)

        if address <> 0 then
            address
        else
            compare endpoint.Port other.Port

    member endpoint.Equals(other: Endpoint) = endpoint.Address = other.Address && endpoint.Port = other.Port

    override endpoint.Equals(other: obj) =
        match other with
        | :? Endpoint as other -> endpoint.Equals other
        | _ -> false

    override endpoint.GetHashCode() = HashCode.Combine(endpoint.Address, endpoint.Port)

    override endpoint.ToString() =
        if endpoint.Address.Contains ':' then
            $"[{endpoint.Address}]:{endpoint.Port}"
        else
            $"{endpoint.Address}:{endpoint.Port}"

    interface IEquatable<Endpoint> with
        member endpoint.Equals other = endpoint.Equals other

    interface IComparable<Endpoint> with
        member endpoint.CompareTo other = endpoint.CompareTo other

    interface IComparable with
        member endpoint.CompareTo other =
            match other with
            | :? Endpoint as other -> endpoint.CompareTo other
            | _ -> invalidArg (nameof other) "not an endpoint"

/// Why the slices of a service have no endpoint for a port, ready or not.
type SelectionFault =
    /// No slice belongs to the service.
    | NoSlices
    /// Its slices have host names (address type `FQDN`), which kedge does not resolve.
    | OnlyHostNames
    /// The ports that the slices do have, as `name:number`; empty when the endpoints have no ports.
    | PortNotFound of available: string array

/// What the slices of a service say about one of its ports.
type EndpointSelection =
    {
        /// Sorted, each once.
        Endpoints: Endpoint array
        /// Whether the endpoints are the last resort: none is ready, and these are terminating.
        AreTerminating: bool
        /// ValueNone = a slice has the port, even without a ready endpoint, or the service has no pods.
        Fault: SelectionFault voption
    }

[<RequireQualifiedAccess>]
module EndpointSlices =

    [<Literal>]
    let ServiceLabel = "kubernetes.io/service-name"

    /// Ways to read the port in a slice. The first one that any slice satisfies applies.
    let private readings port generated (ports: ServicePort list) : (SlicePort -> uint16 voption) list =
        let named (names: string list) (port: SlicePort) =
            if List.contains port.Name names then
                port.Number
            else
                ValueNone

        let ofService (condition: ServicePort -> bool) =
            ports |> List.filter condition |> List.map (fun port -> port.Name) |> named

        let ofTarget name = ofService (fun port -> port.TargetPort = ValueSome(TargetName name))

        match port with
        | OnlyPort -> [ fun port -> port.Number ]
        | PortNumber number ->
            [
                fun port ->
                    match port.Number with
                    | ValueSome other when other <> number -> ValueNone
                    | _ -> ValueSome number
                ofService (fun port -> port.Port = int number)
            ]
        | PortName name when generated && ports.IsEmpty -> [ named [ name ] ]
        // Another port of the service may have this name.
        | PortName name when generated -> [ ofTarget name ]
        | PortName name -> [ named [ name ]; ofTarget name ]

    /// The endpoints of these slices that satisfy a condition, each with the port chosen in its slice.
    let private endpointsOf (isUsable: SliceEndpoint -> bool) (chosen: struct (EndpointSlice * uint16) list) =
        let endpoints = HashSet<Endpoint>()
        let inIPv4 = HashSet<struct (string * uint16)>()

        let add (addressType: AddressType) =
            for struct (slice, port) in chosen do
                if slice.AddressType = addressType then
                    for endpoint in slice.Endpoints do
                        if isUsable endpoint && endpoint.Address <> "" then
                            if addressType = IPv4 then
                                inIPv4.Add(struct (endpoint.Pod, port)) |> ignore

                            if
                                addressType = IPv4
                                || endpoint.Pod = ""
                                || not (inIPv4.Contains(struct (endpoint.Pod, port)))
                            then
                                endpoints.Add
                                    {
                                        Address = endpoint.Address
                                        Port = port
                                    }
                                |> ignore

        add IPv4
        add IPv6
        let sorted = Seq.toArray endpoints
        Array.sortInPlace sorted
        sorted

    let private faultOf (all: EndpointSlice list) (slices: EndpointSlice list) =
        let ports = slices |> List.collect _.Ports

        if all.IsEmpty then
            ValueSome NoSlices
        elif slices.IsEmpty then
            ValueSome OnlyHostNames
        elif ports.IsEmpty && slices |> List.forall _.Endpoints.IsEmpty then
            // This is what the slices of a service without pods look like.
            ValueNone
        else
            ports
            |> Seq.map (fun port ->
                match port.Number with
                | ValueSome number -> $"{port.Name}:{number}"
                | ValueNone -> $"{port.Name}:*")
            |> Seq.distinct
            |> Seq.sortWith (fun left right -> String.CompareOrdinal(left, right))
            |> Seq.toArray
            |> PortNotFound
            |> ValueSome

    /// The endpoints of a port: the ready ones, or if there are none, those that are terminating but still accept
    /// requests, as the cluster's own proxies do (KEP-1669). `ports` are the ports of the service; empty when the
    /// service is unknown, in which case neither its port numbers nor the names of its `targetPort`s can be used.
    ///
    /// A number means an endpoint's port, otherwise the service's. A name means a service's port, otherwise a
    /// `targetPort`; in a generated backend it means a `targetPort` only, unless the service is unknown. Without a
    /// port, the slices must have a single one. A pod with addresses of both families counts once, with its IPv4
    /// address. The order of the slices makes no difference.
    let select (port: K8sPort) (generated: bool) (ports: seq<ServicePort>) (slices: seq<EndpointSlice>) =
        let all = List.ofSeq slices
        let slices = all |> List.filter (fun slice -> slice.AddressType <> OtherAddress)

        let found (reading: SlicePort -> uint16 voption) =
            slices
            |> List.collect (fun slice ->
                slice.Ports
                |> List.choose (fun port ->
                    match reading port with
                    | ValueSome number -> Some(struct (slice, number))
                    | ValueNone -> None))

        let isAmbiguous =
            port = OnlyPort
            && slices
               |> Seq.collect (fun slice -> slice.Ports)
               |> Seq.map (fun port -> port.Name)
               |> Seq.distinct
               |> Seq.length
                >
                1

        let chosen =
            if isAmbiguous then
                []
            else
                readings port generated (List.ofSeq ports)
                |> Seq.map found
                |> Seq.tryFind (not << List.isEmpty)
                |> Option.defaultValue []

        let ready = endpointsOf _.IsUsable chosen

        let lastResort =
            if ready.Length = 0 then
                endpointsOf _.IsLastResort chosen
            else
                [||]

        {
            Endpoints = if ready.Length = 0 then lastResort else ready
            AreTerminating = lastResort.Length > 0
            Fault = if chosen.IsEmpty then faultOf all slices else ValueNone
        }
