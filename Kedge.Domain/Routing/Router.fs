namespace Kedge.Domain

open System

/// The specification of matching: a plain linear first match over the list (SPEC section 3). Requests use the compiled
/// route tables, which a law holds to this.
[<RequireQualifiedAccess>]
module Router =

    let private allHold (matchers: HeaderMatcher array) (headers: (string * string) list) =
        let headers = HeaderList headers
        matchers |> Array.forall (fun matcher -> matcher.Holds &headers)

    /// Whether all of the route's conditions hold. A request without a host matches nothing.
    let httpRouteHolds (route: HttpRoute) (request: HttpRequest) : bool =
        (HostName.withoutTrailingDot (request.Host.AsSpan())).Length > 0
        && route.Host.Holds(request.Host.AsSpan())
        && route.Port.Holds request.Ports
        && (route.Paths.Length = 0
            || route.Paths |> Array.exists (fun rule -> rule.Holds(request.Path.AsSpan())))
        && (route.Mode = Decoded.ProxyMode.Any || route.Mode = request.Mode)
        && allHold route.Headers request.Headers

    /// Whether all of the route's conditions hold.
    let grpcRouteHolds (route: GrpcRoute) (request: GrpcRequest) : bool =
        let fullMethod = request.Service + "/" + request.Method

        route.Service.Holds(request.Service.AsSpan(), fullMethod.AsSpan())
        && route.Host.Holds(request.Host.AsSpan())
        && route.Port.Holds request.Ports
        && allHold route.Metadata request.Metadata

    /// The index of the first route that holds.
    let matchHttp (routes: HttpRoute array) (request: HttpRequest) : int option =
        routes |> Array.tryFindIndex (fun route -> httpRouteHolds route request)

    /// The index of the first route that holds.
    let matchGrpc (routes: GrpcRoute array) (request: GrpcRequest) : int option =
        routes |> Array.tryFindIndex (fun route -> grpcRouteHolds route request)
