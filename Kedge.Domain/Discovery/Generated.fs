namespace Kedge.Domain.Discovery

open System
open Kedge.Domain
open Kedge.Domain.Decoded

/// Who holds what a service claims too.
type Winner =
    /// A route of the director file, by its place in the list of its protocol.
    | FileRoute of index: int * backendName: string
    | GeneratedRoute of service: ServiceKey * backendName: string

    member winner.Describe() =
        match winner with
        | FileRoute(index, backend) -> $"route {index} of the director file (backend {backend})"
        | GeneratedRoute(service, backend) -> $"service {service} (backend {backend})"

/// A claim that is not served, and who is served in its stead.
type Conflict =
    {
        Protocol: Protocol
        Host: string
        Port: uint16
        /// As annotated; empty when not.
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

        let protocol =
            match conflict.Protocol with
            | Protocol.Http -> "http"
            | Protocol.Grpc -> "grpc"

        $"{protocol} {conflict.Host}:{conflict.Port}{methods}: service {conflict.Loser} loses to {conflict.Winner.Describe()}"

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

/// A service that is set aside, with its reasons.
type QuarantinedService =
    {
        Service: ServiceKey
        Faults: ServiceFault list
        /// The claims of its last good version that stand in for it, served or not.
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

/// A generated backend whose name the backend pool file has too: the file's is used.
type OverriddenBackend =
    {
        Protocol: Protocol
        Name: string
        Service: ServiceKey
    }

    member overridden.Describe() =
        $"service {overridden.Service}: its routes use the backend {overridden.Name} of the files"

/// What discovery makes of the services. Everything is sorted, so that equal states give equal values.
///
/// Routes stand by host. For one host a `service_name_matcher` precedes all that take its methods too; then the lower
/// port comes first (which matters only to a request without a port, as that stands for 80 and 443).
type Generated =
    {
        HttpRoutes: HttpRoute list
        GrpcRoutes: GrpcRoute list
        HttpBackends: Backend list
        GrpcBackends: Backend list
        Conflicts: Conflict list
        IgnoredPorts: IgnoredPort list
        Quarantined: QuarantinedService list
        OverriddenBackends: OverriddenBackend list
    }

    /// Whether it is equal to the other; quick where both share their entries.
    member generated.IsSame(other: Generated) : bool =
        let rec same (left: 'entry list) (right: 'entry list) =
            match left, right with
            | [], [] -> true
            | first :: left, second :: right ->
                (obj.ReferenceEquals(first, second) || first = second) && same left right
            | _ -> false

        same generated.HttpRoutes other.HttpRoutes
        && same generated.GrpcRoutes other.GrpcRoutes
        && same generated.HttpBackends other.HttpBackends
        && same generated.GrpcBackends other.GrpcBackends
        && generated.Conflicts = other.Conflicts
        && generated.IgnoredPorts = other.IgnoredPorts
        && generated.Quarantined = other.Quarantined
        && generated.OverriddenBackends = other.OverriddenBackends
