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
        failwith "contract"

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
        failwith "contract"
