namespace Kedge.Domain

open System
open System.Runtime.InteropServices

/// HTTP routes compiled for lookup: indexed by host, port and path, with candidates in the file's order. Matching
/// allocates nothing, and its cost does not grow with the number of routes for other hosts, ports and paths. The result
/// is the same as with `Router.matchHttp`.
[<Sealed>]
type HttpRouteTable(routes: HttpRoute array) =

    static let anyPath = [| AnyText |]

    let index =
        routes
        |> Array.map (fun route ->
            {
                Host = route.Host
                Port = route.Port
                Rules =
                    if route.Paths.Length = 0 then
                        anyPath
                    else
                        route.Paths
                        |> Array.collect (function
                            | ExactPath path -> [| Exact path |]
                            | PathTree root -> [| Exact root; Prefix(root + "/") |]
                            | PathPrefix prefix -> [| Prefix prefix |])
                Conditions =
                    {
                        Mode = route.Mode
                        Listener = route.Listener
                        Methods = route.Methods
                        Query = route.Query
                        Headers = route.Headers
                    }
            })
        |> RouteIndex.Build

    /// The index of the first route that matches the request, or -1. `host` is without port and brackets, `path`
    /// canonical, `query` without its `?`.
    member _.Match<'headers when 'headers: struct and 'headers :> IHeaders>
        (
            method: ReadOnlySpan<char>,
            host: ReadOnlySpan<char>,
            ports: AuthorityPorts,
            path: ReadOnlySpan<char>,
            query: ReadOnlySpan<char>,
            mode: Decoded.ProxyMode,
            listener: Decoded.Listener,
            headers: inref<'headers>
        ) : int =
        let host = HostName.withoutTrailingDot host

        if host.Length = 0 then
            -1
        else
            let request =
                {
                    Ports = ports
                    Text = path
                    SecondText = ReadOnlySpan.Empty
                    Method = method
                    Query = query
                    Mode = mode
                    Listener = listener
                }

            index.Match(host, &request, &headers)

    /// Like `Match`, for a caller's request: false when its path parameters decide which route matches
    /// (`Router.parametersDecide`), so the request must be rejected. Allocates only for paths with parameters.
    member table.TryMatch<'headers when 'headers: struct and 'headers :> IHeaders>
        (
            method: ReadOnlySpan<char>,
            host: ReadOnlySpan<char>,
            ports: AuthorityPorts,
            path: string,
            query: ReadOnlySpan<char>,
            mode: Decoded.ProxyMode,
            listener: Decoded.Listener,
            headers: inref<'headers>,
            [<Out>] route: byref<int>
        ) : bool =
        route <- table.Match(method, host, ports, path.AsSpan(), query, mode, listener, &headers)

        if not (RequestPath.hasParameters (path.AsSpan())) then
            true
        else
            let bare = RequestPath.withoutParameters path
            route = table.Match(method, host, ports, bare.AsSpan(), query, mode, listener, &headers)

/// gRPC routes compiled for lookup: indexed by authority host, port and service. The result is the same as with
/// `Router.matchGrpc`.
[<Sealed>]
type GrpcRouteTable(routes: GrpcRoute array) =

    let index =
        routes
        |> Array.map (fun route ->
            {
                Host = route.Host
                Port = route.Port
                Rules =
                    [|
                        match route.Service with
                        | AnyService -> AnyText
                        | ExactService service -> Exact service
                        | ServicePrefix prefix -> Prefix prefix
                        | ExactMethod method -> SecondExact method
                        | MethodPrefix prefix -> SecondPrefix prefix
                    |]
                Conditions =
                    {
                        Mode = Decoded.ProxyMode.Any
                        Listener = route.Listener
                        Methods = [||]
                        Query = [||]
                        Headers = route.Metadata
                    }
            })
        |> RouteIndex.Build

    /// The index of the first route that matches the call, or -1. `host` is without port and brackets and may be empty.
    /// `fullMethod` is `package.Service/Method`; `service` is its first part.
    member _.Match<'headers when 'headers: struct and 'headers :> IHeaders>
        (
            host: ReadOnlySpan<char>,
            ports: AuthorityPorts,
            service: ReadOnlySpan<char>,
            fullMethod: ReadOnlySpan<char>,
            listener: Decoded.Listener,
            metadata: inref<'headers>
        ) : int =
        let request =
            {
                Ports = ports
                Text = service
                SecondText = fullMethod
                Method = ReadOnlySpan.Empty
                Query = ReadOnlySpan.Empty
                Mode = Decoded.ProxyMode.Any
                Listener = listener
            }

        index.Match(HostName.withoutTrailingDot host, &request, &metadata)
