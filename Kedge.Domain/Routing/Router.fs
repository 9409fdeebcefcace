namespace Kedge.Domain

open System

/// The specification of matching: a plain first match over the list; a route matches a request when none of its
/// conditions has a mismatch. See docs/matching.md. Live requests use the compiled route tables; a property test checks
/// that they agree with this module.
[<RequireQualifiedAccess>]
module Router =

    let private gather (mismatches: Mismatch voption seq) : Mismatch list =
        [
            for mismatch in mismatches do
                match mismatch with
                | ValueSome mismatch -> mismatch
                | ValueNone -> ()
        ]

    let private ofHeaders (matchers: HeaderMatcher array) (headers: (string * string) list) =
        matchers |> Seq.map _.Mismatch(HeaderList headers)

    /// Every condition of the route that the request does not meet; empty when the route matches it. No HTTP route
    /// matches a request without a host.
    let httpMismatches (route: HttpRoute) (request: HttpRequest) : Mismatch list =
        let hasHost = (HostName.withoutTrailingDot (request.Host.AsSpan())).Length > 0

        gather
            [
                if hasHost then
                    route.Host.Mismatch request.Host
                else
                    ValueSome HostMatcher.absent

                route.Port.Mismatch request.Ports
                MethodMatcher.mismatch route.Methods request.Method
                PathRule.mismatch route.Paths request.Path
                for matcher in route.Query do
                    matcher.Mismatch request.Query
                ModeMatcher.mismatch route.Mode request.Mode
                ListenerMatcher.mismatch route.Listener request.Listener
                yield! ofHeaders route.Headers request.Headers
            ]

    /// Every condition of the route that the call does not meet; empty when the route matches it.
    let grpcMismatches (route: GrpcRoute) (request: GrpcRequest) : Mismatch list =
        gather
            [
                route.Host.Mismatch request.Host
                route.Port.Mismatch request.Ports
                route.Service.Mismatch(request.Service, request.Method)
                yield! ofHeaders route.Metadata request.Metadata
                ListenerMatcher.mismatch route.Listener request.Listener
            ]

    /// Whether the route matches the request.
    let httpRouteHolds (route: HttpRoute) (request: HttpRequest) : bool = (httpMismatches route request).IsEmpty

    /// Whether the route matches the call.
    let grpcRouteHolds (route: GrpcRoute) (request: GrpcRequest) : bool = (grpcMismatches route request).IsEmpty

    /// The index of the first route that matches the request.
    let matchHttp (routes: HttpRoute array) (request: HttpRequest) : int option =
        routes |> Array.tryFindIndex (fun route -> httpRouteHolds route request)

    /// The first routes that match the request with and without its path parameters, if they differ: then a backend
    /// that removes the parameters would serve a path whose rule was not checked. Such a request is rejected.
    let parametersDecide (routes: HttpRoute array) (request: HttpRequest) : (int option * int option) voption =
        let bare =
            { request with
                Path = RequestPath.withoutParameters request.Path
            }

        let routeOf = matchHttp routes
        let written, bare = routeOf request, routeOf bare

        if written = bare then
            ValueNone
        else
            ValueSome(written, bare)

    /// The index of the first route that matches the call.
    let matchGrpc (routes: GrpcRoute array) (request: GrpcRequest) : int option =
        routes |> Array.tryFindIndex (fun route -> grpcRouteHolds route request)
