namespace Kedge.Domain.Discovery

open System
open Kedge.Domain

/// What is served instead of a service's claim.
type Winner =
    /// A route of the director file, by its index in the list of its protocol.
    | FileRoute of index: int * backendName: string
    | GeneratedRoute of service: ServiceKey * backendName: string

    member winner.Describe() =
        match winner with
        | FileRoute(index, backend) -> $"route {index} of the director file (backend {backend})"
        | GeneratedRoute(service, backend) -> $"service {service} (backend {backend})"

/// A claim that is not served, and what is served instead.
type Conflict =
    {
        Protocol: Protocol
        Host: string
        Port: uint16
        /// As annotated; empty without an annotation.
        ServiceNameMatcher: string
        Loser: ServiceKey
        LosingBackend: string
        Winner: Winner
    }

    member conflict.Describe() =
        let methods =
            if conflict.ServiceNameMatcher = "" then
                ""
            else
                $" {conflict.ServiceNameMatcher}"

        $"{conflict.Protocol.Section} {conflict.Host}:{conflict.Port}{methods}: service {conflict.Loser} loses to {conflict.Winner.Describe()}"

type IgnoredPort =
    {
        Service: ServiceKey
        PortName: string
        Port: int
        Reason: IgnoredReason
    }

    member ignored.Describe() =
        match ignored.Reason with
        | NameSaysNothing ->
            $"service {ignored.Service}: port {ignored.Port}: its name '{ignored.PortName}' is none of http, grpc, httptls, grpctls and does not start with one of them and '-'"
        | NotTcp protocol ->
            $"service {ignored.Service}: port {ignored.Port} ('{ignored.PortName}'): its protocol is {protocol}, only TCP is proxied"
        | ExternalName ->
            $"service {ignored.Service}: port {ignored.Port} ('{ignored.PortName}'): a service of the type ExternalName has no endpoints; use a backend with a host resolver in the files"

/// A service that is quarantined, with the reasons.
type QuarantinedService =
    {
        Service: ServiceKey
        Faults: ServiceFault list
        /// How many claims of its last good version count instead, served or not.
        RoutesKept: int
    }

    member quarantined.Describe() =
        let reasons =
            String.Join("; ", quarantined.Faults |> Seq.map (fun fault -> fault.Describe()))

        let kept =
            match quarantined.RoutesKept with
            | 0 -> "it has no routes"
            | 1 -> "the route of its last good version stays"
            | count -> $"the {count} routes of its last good version stay"

        $"service {quarantined.Service}: {reasons}; {kept}"

/// A generated backend with the same name as a backend in the pool file: the file's backend is used.
type OverriddenBackend =
    {
        Protocol: Protocol
        Name: string
        Service: ServiceKey
    }

    member overridden.Describe() =
        $"service {overridden.Service}: its routes use the backend {overridden.Name} of the files"

/// What discovery generates from the services. Everything is sorted, so that equal states give equal values.
///
/// Routes are ordered by host. Within a host, a `service_name_matcher` precedes all others that take its methods too;
/// then the lower port comes first, which matters only for requests without a port, since these mean both 80 and 443.
type Generated =
    {
        Entries: GeneratedEntries
        Conflicts: Conflict list
        IgnoredPorts: IgnoredPort list
        Quarantined: QuarantinedService list
        OverriddenBackends: OverriddenBackend list
    }

    /// Whether it equals the other. Quick where both share entries.
    member generated.IsSame(other: Generated) : bool =
        let rec same (left: 'entry list) (right: 'entry list) =
            match left, right with
            | [], [] -> true
            | first :: left, second :: right ->
                (obj.ReferenceEquals(first, second) || first = second) && same left right
            | _ -> false

        same generated.Entries.HttpRoutes other.Entries.HttpRoutes
        && same generated.Entries.GrpcRoutes other.Entries.GrpcRoutes
        && same generated.Entries.Backends.Http other.Entries.Backends.Http
        && same generated.Entries.Backends.Grpc other.Entries.Backends.Grpc
        && generated.Conflicts = other.Conflicts
        && generated.IgnoredPorts = other.IgnoredPorts
        && generated.Quarantined = other.Quarantined
        && generated.OverriddenBackends = other.OverriddenBackends
