namespace Kedge.Domain.Discovery

open System
open System.Collections.Generic
open System.Text.Json
open Kedge.Domain

type AddressType =
    | IPv4
    | IPv6
    /// Host names, or a type that is not known here. No proxy of the cluster serves these, nor does this one.
    | OtherAddress

type SlicePort =
    {
        /// The name of the service's port; empty when it has none.
        Name: string
        /// ValueNone = every port.
        Number: uint16 voption
    }

type SliceEndpoint =
    {
        /// The first address; all of an endpoint's addresses are the same to a caller.
        Address: string
        /// ValueNone = not known, which counts as ready.
        Ready: bool voption
        Terminating: bool voption
        /// Which pod it is; empty when it is none. A pod with addresses of two families is in two slices.
        Pod: string
    }

    /// Whether it can take requests.
    member endpoint.IsUsable =
        endpoint.Ready <> ValueSome false && endpoint.Terminating <> ValueSome true

/// What a resolver reads of a `discovery.k8s.io/v1` EndpointSlice.
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

/// A place that requests can be sent to.
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

/// What the slices of a service say of one of its ports.
type EndpointSelection =
    {
        /// Sorted, each once.
        Endpoints: Endpoint array
        /// Whether any slice has the port, be it without a ready endpoint.
        PortFound: bool
        /// When the port was not found: the ports that the slices do have, as `name:number`. With any here the reference
        /// is most likely wrong; with none the service has no pods.
        OtherPorts: string array
    }

[<RequireQualifiedAccess>]
module EndpointSlices =

    [<Literal>]
    let ServiceLabel = "kubernetes.io/service-name"

    /// Which ports of the slices are meant: the first of these readings that any slice has.
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
        | PortName name when generated -> [ ofTarget name; named [ name ] ]
        | PortName name -> [ named [ name ]; ofTarget name ]

    /// The ready endpoints of a port. `ports` are those of the service; empty when it is not known, and then neither its
    /// port numbers nor the names of its `targetPort`s say anything.
    ///
    /// A number is that of an endpoint's port, else of the service's. A name is that of a service's port, else of a
    /// `targetPort`; in a generated backend it is a `targetPort`'s first of all. With no port named, the slices must have
    /// one only. A pod with addresses of both families counts once, with that of IPv4. The order of the slices makes no
    /// difference.
    let select (port: K8sPort) (generated: bool) (ports: seq<ServicePort>) (slices: seq<EndpointSlice>) =
        let slices =
            slices
            |> Seq.filter (fun slice -> slice.AddressType <> OtherAddress)
            |> List.ofSeq

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

        let endpoints = HashSet<Endpoint>()
        let inIPv4 = HashSet<struct (string * uint16)>()

        let add (addressType: AddressType) =
            for struct (slice, port) in chosen do
                if slice.AddressType = addressType then
                    for endpoint in slice.Endpoints do
                        if endpoint.IsUsable && endpoint.Address <> "" then
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

        {
            Endpoints = sorted
            PortFound = not chosen.IsEmpty
            OtherPorts =
                if chosen.IsEmpty then
                    slices
                    |> Seq.collect (fun slice -> slice.Ports)
                    |> Seq.map (fun port ->
                        match port.Number with
                        | ValueSome number -> $"{port.Name}:{number}"
                        | ValueNone -> $"{port.Name}:*")
                    |> Seq.distinct
                    |> Seq.sortWith (fun left right -> String.CompareOrdinal(left, right))
                    |> Seq.toArray
                else
                    [||]
        }

[<RequireQualifiedAccess>]
module EndpointSliceJson =

    let private readPort (element: JsonElement) : SlicePort option =
        match Json.text "protocol" element with
        | ""
        | "TCP" ->
            match Json.tryField "port" element with
            | ValueNone ->
                Some
                    {
                        Name = Json.text "name" element
                        Number = ValueNone
                    }
            | ValueSome value ->
                match Json.number value with
                | ValueSome number when number >= 1 && number <= 65535 ->
                    Some
                        {
                            Name = Json.text "name" element
                            Number = ValueSome(uint16 number)
                        }
                | _ -> None
        | _ -> None

    let private readEndpoint (element: JsonElement) : SliceEndpoint =
        let condition name =
            match Json.tryField "conditions" element with
            | ValueSome conditions -> Json.flag name conditions
            | ValueNone -> ValueNone

        {
            Address =
                match Json.items "addresses" element with
                | first :: _ -> Json.asText first |> ValueOption.defaultValue ""
                | [] -> ""
            Ready = condition "ready"
            Terminating = condition "terminating"
            Pod =
                match Json.tryField "targetRef" element with
                | ValueSome target when Json.text "kind" target = "Pod" ->
                    match Json.text "uid" target with
                    | "" -> Json.text "name" target
                    | uid -> uid
                | _ -> ""
        }

    let private readObject (element: JsonElement) : EndpointSlice voption =
        match Json.tryField "metadata" element with
        | ValueSome metadata when Json.text "name" metadata <> "" ->
            ValueSome
                {
                    Namespace = Json.text "namespace" metadata
                    Name = Json.text "name" metadata
                    Service =
                        match Json.tryField "labels" metadata with
                        | ValueSome labels -> Json.text EndpointSlices.ServiceLabel labels
                        | ValueNone -> ""
                    AddressType =
                        match Json.text "addressType" element with
                        | "IPv4" -> IPv4
                        | "IPv6" -> IPv6
                        | _ -> OtherAddress
                    Ports = Json.items "ports" element |> List.choose readPort
                    Endpoints = Json.items "endpoints" element |> List.map readEndpoint
                    ResourceVersion = Json.text "resourceVersion" metadata
                }
        | _ -> ValueNone

    /// Reads a `discovery.k8s.io/v1` EndpointSlice. ValueNone when it is no object with a name. Never throws.
    let read (element: JsonElement) : EndpointSlice voption = Json.guarded readObject element

    /// The same for C#: null when it is no slice.
    let tryRead (element: JsonElement) : EndpointSlice | null =
        match read element with
        | ValueSome slice -> slice
        | ValueNone -> null
