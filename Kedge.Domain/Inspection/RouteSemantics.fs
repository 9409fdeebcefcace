namespace Kedge.Domain

open System

/// What the routes of a protocol mean: everything that explanation, analysis and comparison need to know, so that each
/// is written once.
[<NoEquality; NoComparison>]
type RouteSemantics<'route, 'request> =
    {
        Protocol: Protocol
        Routes: Director -> 'route array
        Wrap: 'request -> Request
        /// The reverse of `Wrap`; ValueNone for a request of the other protocol.
        Unwrap: Request -> 'request voption
        /// The conditions that every request meets.
        Any: RequestConditions
        Conditions: 'route -> RequestConditions
        Request: Point -> 'request
        /// The conditions of the route that the request does not meet; empty when the route takes it.
        Mismatches: 'route -> 'request -> Mismatch list
        /// The first routes that take the request with and without its path parameters, when they differ.
        ParametersDecide: 'route array -> 'request -> (int option * int option) voption
        /// Prepares a table; the result returns the index of the first route that takes a request, or -1.
        Winner: 'route array -> 'request -> int
        Outcome: 'route -> Outcome
        Marks: 'route -> RouteMarks
        Listener: 'route -> Decoded.Listener
        Texts: string seq -> TextSpace
    }

    /// Whether the route takes the request.
    member semantics.Holds (route: 'route) (request: 'request) : bool = (semantics.Mismatches route request).IsEmpty

    /// The names of the backends that the route forwards to.
    member semantics.Backends(route: 'route) : string list = (semantics.Outcome route).Action.Backends

    /// The names of all backends that the route names: those that it forwards to, then its mirrors.
    member semantics.NamedBackends(route: 'route) : string list =
        let outcome = semantics.Outcome route
        outcome.Action.Backends @ List.map _.Backend outcome.Mirrors

[<RequireQualifiedAccess>]
module RouteSemantics =

    let private isCanonicalPath (path: string) =
        match RequestPath.canonicalise path with
        | Ok canonical -> canonical = path
        | Error _ -> false

    // An `x` turns `.` and `..` into plain segments; the hexadecimal digits complete an escape that a canonical path
    // keeps: there is one for each first digit, and `%25` where `%2F` would hide a dot segment.
    let private pathEndings = [ ""; "x"; "2F"; "25"; "F"; "5"; "0"; "C" ]

    // gRPC over HTTP/2: "/" Service-Name "/" method name, neither of them empty.
    let private isMethod (text: string) =
        let slash = text.IndexOf '/'

        slash > 0
        && slash < text.Length - 1
        && slash = text.LastIndexOf '/'
        && text |> Seq.forall (fun c -> c > ' ' && c <= '~')

    let http: RouteSemantics<HttpRoute, HttpRequest> =
        {
            Protocol = Protocol.Http
            Routes = _.HttpRoutes
            Wrap = Request.Http
            Unwrap =
                fun request ->
                    match request with
                    | Http request -> ValueSome request
                    | Grpc _ -> ValueNone
            Any = RequestConditions.anyHttp
            Conditions = RequestConditions.ofHttp
            Request =
                fun point ->
                    {
                        HttpRequest.Method = point.Method
                        Host = point.Host
                        Ports = point.Ports
                        Path = point.Text
                        Query = QueryText.render point.Query
                        Mode = point.Mode
                        Listener = point.Listener
                        Headers = point.Headers
                    }
            Mismatches = Router.httpMismatches
            ParametersDecide = Router.parametersDecide
            Winner =
                fun routes ->
                    let table = HttpRouteTable routes

                    fun request ->
                        let headers = HeaderList request.Headers

                        table.Match(
                            request.Method.AsSpan(),
                            request.Host.AsSpan(),
                            request.Ports,
                            request.Path.AsSpan(),
                            request.Query.AsSpan(),
                            request.Mode,
                            request.Listener,
                            &headers
                        )
            Outcome = _.Outcome
            Marks = _.Marks
            Listener = _.Listener
            Texts = fun mentioned -> TextSpace(mentioned, isCanonicalPath, pathEndings, [])
        }

    let grpc: RouteSemantics<GrpcRoute, GrpcRequest> =
        {
            Protocol = Protocol.Grpc
            Routes = _.GrpcRoutes
            Wrap = Request.Grpc
            Unwrap =
                fun request ->
                    match request with
                    | Grpc call -> ValueSome call
                    | Http _ -> ValueNone
            Any = RequestConditions.anyGrpc
            Conditions = RequestConditions.ofGrpc
            Request =
                fun point ->
                    let slash = point.Text.IndexOf '/'

                    {
                        Host = point.Host
                        Ports = point.Ports
                        Service = point.Text.Substring(0, slash)
                        Method = point.Text.Substring(slash + 1)
                        Listener = point.Listener
                        Metadata = point.Headers
                    }
            Mismatches = Router.grpcMismatches
            ParametersDecide = fun _ _ -> ValueNone
            Winner =
                fun routes ->
                    let table = GrpcRouteTable routes

                    fun request ->
                        let metadata = HeaderList request.Metadata

                        table.Match(
                            request.Host.AsSpan(),
                            request.Ports,
                            request.Service.AsSpan(),
                            (request.Service + "/" + request.Method).AsSpan(),
                            request.Listener,
                            &metadata
                        )
            Outcome = _.Outcome
            Marks = _.Marks
            Listener = _.Listener
            Texts = fun mentioned -> TextSpace(mentioned, isMethod, [ ""; "M"; "/M"; "x/M" ], [])
        }

    /// The representative requests of tables with these conditions.
    let space (semantics: RouteSemantics<'route, 'request>) (conditions: RequestConditions seq) =
        let conditions = Seq.cache conditions

        let mentioned =
            conditions
            |> Seq.collect _.Texts
            |> Seq.map (fun rule ->
                match rule with
                | Exactly text
                | StartingWith text -> text)

        RequestSpace(conditions, semantics.Texts mentioned)
