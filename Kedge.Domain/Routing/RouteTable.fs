namespace Kedge.Domain

open System

/// HTTP routes compiled for lookup: indexed by host, port and path, the file's order kept among candidates. Allocates
/// nothing, and its cost does not grow with the number of routes of other hosts.
[<Sealed>]
type HttpRouteTable(routes: HttpRoute array) =

    /// The index of the first route that holds, or -1.
    member _.Match<'headers when 'headers: struct and 'headers :> IHeaders>
        (
            host: ReadOnlySpan<char>,
            ports: AuthorityPorts,
            path: ReadOnlySpan<char>,
            mode: Decoded.ProxyMode,
            headers: inref<'headers>
        ) : int =
        let mutable found = -1
        let mutable index = 0

        while found < 0 && index < routes.Length do
            let route = routes[index]
            let mutable pathHolds = route.Paths.Length = 0

            for rule in route.Paths do
                pathHolds <- pathHolds || rule.Holds path

            let mutable holds =
                pathHolds
                && (HostName.withoutTrailingDot host).Length > 0
                && route.Host.Holds host
                && route.Port.Holds ports
                && (route.Mode = Decoded.ProxyMode.Any || route.Mode = mode)

            for matcher in route.Headers do
                holds <- holds && matcher.Holds &headers

            if holds then
                found <- index

            index <- index + 1

        found

/// gRPC routes compiled for lookup: indexed by authority host, port and service.
[<Sealed>]
type GrpcRouteTable(routes: GrpcRoute array) =

    /// The index of the first route that holds, or -1. `fullMethod` is `package.Service/Method`, of which `service` is
    /// the first part.
    member _.Match<'headers when 'headers: struct and 'headers :> IHeaders>
        (
            host: ReadOnlySpan<char>,
            ports: AuthorityPorts,
            service: ReadOnlySpan<char>,
            fullMethod: ReadOnlySpan<char>,
            metadata: inref<'headers>
        ) : int =
        let mutable found = -1
        let mutable index = 0

        while found < 0 && index < routes.Length do
            let route = routes[index]

            let mutable holds =
                route.Host.Holds host
                && route.Port.Holds ports
                && route.Service.Holds(service, fullMethod)

            for matcher in route.Metadata do
                holds <- holds && matcher.Holds &metadata

            if holds then
                found <- index

            index <- index + 1

        found
