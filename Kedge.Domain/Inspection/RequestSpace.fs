namespace Kedge.Domain

open System
open System.Collections.Generic

/// The ports that a set of conditions asks for.
[<Struct>]
type PortDemand =
    | NoPort
    | OnePort of port: uint16
    /// 80 from one route and 443 from another, which only an authority without a port gives.
    | BothDefaultPorts

/// The conditions of one route, or of two routes together, in a form that HTTP and gRPC share.
type RequestConditions =
    {
        Host: HostMatcher
        Port: PortDemand
        /// Alternatives; never empty.
        Texts: TextCondition list
        /// Names in lower case; distinct, sorted.
        Headers: (string * string) list
        /// Each is possible; never empty.
        Modes: Decoded.ProxyMode list
    }

[<RequireQualifiedAccess>]
module RequestConditions =

    let private normalTexts (rules: TextCondition list) =
        let rules = List.distinct rules

        rules
        |> List.filter (fun rule ->
            rules
            |> List.forall (fun other -> other = rule || not (TextCondition.covers other rule)))
        |> List.sort

    let private normalHeaders (headers: HeaderMatcher array) =
        headers
        |> Seq.map (fun h -> h.Name.ToLowerInvariant(), h.Value)
        |> Seq.distinct
        |> Seq.sort
        |> Seq.toList

    let private ofPort port =
        match port with
        | AnyPort -> NoPort
        | ExactPort port -> OnePort port

    let private ofHost host =
        match host with
        | AnyHost -> AnyHost
        | ExactHost host -> ExactHost(host.ToLowerInvariant())

    // `*` is the path of `OPTIONS *` (RFC 9112, 3.2.4); every other path starts with a slash.
    let private anyPath = [ StartingWith "/"; Exactly "*" ]

    /// The texts are canonical paths. Two routes with equal conditions take the same requests.
    let ofHttp (route: HttpRoute) : RequestConditions =
        {
            Host = ofHost route.Host
            Port = ofPort route.Port
            Texts =
                match Array.toList route.Paths with
                | [] -> anyPath
                | rules ->
                    rules
                    |> List.collect (fun rule ->
                        match rule with
                        | ExactPath path -> [ Exactly path ]
                        | PathPrefix "" -> anyPath
                        | PathPrefix prefix -> [ StartingWith prefix ])
                    |> normalTexts
            Headers = normalHeaders route.Headers
            Modes =
                match route.Mode with
                | Decoded.ProxyMode.Any -> [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ]
                | mode -> [ mode ]
        }

    /// The texts are `package.Service/Method`. With one slash in each text, a matcher of the service is a prefix too.
    let ofGrpc (route: GrpcRoute) : RequestConditions =
        {
            Host = ofHost route.Host
            Port = ofPort route.Port
            Texts =
                [
                    match route.Service with
                    | AnyService -> StartingWith ""
                    | ExactService service -> StartingWith(service + "/")
                    | ServicePrefix prefix
                    | MethodPrefix prefix -> StartingWith prefix
                    | ExactMethod method -> Exactly method
                ]
            Headers = normalHeaders route.Metadata
            Modes = [ Decoded.ProxyMode.ReverseProxy ]
        }

    /// Those of every HTTP request.
    let anyHttp: RequestConditions =
        {
            Host = AnyHost
            Port = NoPort
            Texts = anyPath
            Headers = []
            Modes = [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ]
        }

    /// Those of every gRPC call.
    let anyGrpc: RequestConditions =
        { anyHttp with
            Texts = [ StartingWith "" ]
            Modes = [ Decoded.ProxyMode.ReverseProxy ]
        }

    let private meetPorts a b =
        match a, b with
        | NoPort, port
        | port, NoPort -> ValueSome port
        | _ when a = b -> ValueSome a
        | OnePort 80us, OnePort 443us
        | OnePort 443us, OnePort 80us -> ValueSome BothDefaultPorts
        | BothDefaultPorts, OnePort(80us | 443us)
        | OnePort(80us | 443us), BothDefaultPorts -> ValueSome BothDefaultPorts
        | _ -> ValueNone

    /// The conditions of both; None when no request satisfies both.
    let meet (a: RequestConditions) (b: RequestConditions) : RequestConditions option =
        let host =
            match a.Host, b.Host with
            | AnyHost, host
            | host, AnyHost -> ValueSome host
            | ExactHost x, ExactHost y -> if x = y then ValueSome a.Host else ValueNone

        match host, meetPorts a.Port b.Port with
        | ValueSome host, ValueSome port ->
            let modes =
                if a.Modes = b.Modes then
                    a.Modes
                else
                    List.filter (fun mode -> List.contains mode b.Modes) a.Modes

            let texts =
                List.allPairs a.Texts b.Texts
                |> List.choose (fun (x, y) -> TextCondition.meet x y)

            if modes.IsEmpty || texts.IsEmpty then
                None
            else
                Some
                    {
                        Host = host
                        Port = port
                        Texts = normalTexts texts
                        Headers = List.distinct (a.Headers @ b.Headers)
                        Modes = modes
                    }
        | _ -> None

/// A request in the form that HTTP and gRPC share.
type Point =
    {
        Host: string
        Ports: AuthorityPorts
        Text: string
        Mode: Decoded.ProxyMode
        Headers: (string * string) list
    }

/// The representative requests of the routes of one or two tables.
///
/// For each request q that satisfies given conditions (of one route, or of two together) there is a representative q',
/// satisfying them too, such that every route of the tables that takes q' takes q as well. So if q reaches a route, or
/// goes to two given routes of two tables, then so does q'; and if each representative is taken by an earlier route,
/// then so is each request. That makes the answers of `Analysis` and `Diff` exact, both ways.
///
/// Proof, condition by condition, for the representative that is chosen with q's mode:
/// - host: given, or one that no route names, which only routes for any host take, and these take q's host too;
/// - ports: given, or one port that no route names, likewise. An authority without a port satisfies more port matchers
///   than either of its two ports alone, so that it is needed only where both are asked for. (One for a readable
///   witness is added all the same; more representatives do no harm.) A forward-proxy request always has one port;
/// - text: `TextSpace`;
/// - headers: exactly those asked for, which q has too. One name with two values is satisfiable: by both values.
[<Sealed>]
type RequestSpace(conditions: RequestConditions seq, texts: TextSpace) =

    let freshHost, freshPort =
        let hosts = HashSet<string>(StringComparer.OrdinalIgnoreCase)
        let ports = HashSet<uint16>()

        for c in conditions do
            match c.Host with
            | ExactHost host -> hosts.Add host |> ignore
            | AnyHost -> ()

            match c.Port with
            | OnePort port -> ports.Add port |> ignore
            | NoPort
            | BothDefaultPorts -> ()

        let host =
            Seq.initInfinite (fun i -> if i = 0 then "any.example" else $"any{i}.example")
            |> Seq.find (fun host -> not (hosts.Contains host))

        // 80 and 443 are never fresh: an authority without a port has them. A table that names all other ports still
        // leaves port 0, which no request has; a validated table of 65,533 ports in one file is not met.
        let port =
            Seq.append (seq { 8443us }) (seq { 1us .. UInt16.MaxValue })
            |> Seq.tryFind (fun port -> port <> 80us && port <> 443us && not (ports.Contains port))

        host, port |> Option.defaultValue 0us

    let portsFor demand mode =
        match demand, mode with
        | NoPort, Decoded.ProxyMode.ForwardProxy -> [ AuthorityPorts.Of freshPort ]
        | NoPort, _ -> [ AuthorityPorts.Unspecified; AuthorityPorts.Of freshPort ]
        | OnePort 443us, Decoded.ProxyMode.ReverseProxy -> [ AuthorityPorts.Unspecified; AuthorityPorts.Of 443us ]
        | OnePort port, _ -> [ AuthorityPorts.Of port ]
        | BothDefaultPorts, Decoded.ProxyMode.ForwardProxy -> []
        | BothDefaultPorts, _ -> [ AuthorityPorts.Unspecified ]

    member _.Texts = texts

    /// Lazy: most routes need only the first.
    member _.Representatives(c: RequestConditions) : Point seq =
        seq {
            for mode in c.Modes do
                for ports in portsFor c.Port mode do
                    for rule in c.Texts do
                        for text in texts.Representatives rule do
                            {
                                Host =
                                    match c.Host with
                                    | ExactHost host -> host
                                    | AnyHost -> freshHost
                                Ports = ports
                                Text = text
                                Mode = mode
                                Headers = c.Headers
                            }
        }

/// All that analysis and comparison need to know of a protocol.
type Protocol<'route, 'request> =
    {
        Conditions: 'route -> RequestConditions
        Request: Point -> 'request
        Holds: 'route -> 'request -> bool
        /// Prepares a table; then the index of the first route that holds, or -1.
        Winner: 'route array -> 'request -> int
        Backend: 'route -> string
        Authorization: 'route -> Decoded.Authorization option
        Texts: string seq -> TextSpace
    }

[<RequireQualifiedAccess>]
module Protocol =

    let private isCanonicalPath (path: string) =
        match RequestPath.canonicalise path with
        | Ok canonical -> canonical = path
        | Error _ -> false

    // `.` and `..` become plain segments with an `x`; the hexadecimal digits complete an escape to one that a canonical
    // path keeps: for each first digit there is one, and `%25` where `%2F` would hide a dot segment.
    let private pathEndings = [ ""; "x"; "2F"; "25"; "F"; "5"; "0"; "C" ]

    // gRPC over HTTP/2: "/" Service-Name "/" method name, neither of them empty.
    let private isMethod (text: string) =
        let slash = text.IndexOf '/'

        slash > 0
        && slash < text.Length - 1
        && slash = text.LastIndexOf '/'
        && text |> Seq.forall (fun c -> c > ' ' && c <= '~')

    let http: Protocol<HttpRoute, HttpRequest> =
        {
            Conditions = RequestConditions.ofHttp
            Request =
                fun point ->
                    {
                        Host = point.Host
                        Ports = point.Ports
                        Path = point.Text
                        Mode = point.Mode
                        Headers = point.Headers
                    }
            Holds = Router.httpRouteHolds
            Winner =
                fun routes ->
                    let table = HttpRouteTable routes

                    fun request ->
                        let headers = HeaderList request.Headers

                        table.Match(request.Host.AsSpan(), request.Ports, request.Path.AsSpan(), request.Mode, &headers)
            Backend = _.Backend
            Authorization = _.Authorization
            Texts = fun mentioned -> TextSpace(mentioned, isCanonicalPath, pathEndings)
        }

    let grpc: Protocol<GrpcRoute, GrpcRequest> =
        {
            Conditions = RequestConditions.ofGrpc
            Request =
                fun point ->
                    let slash = point.Text.IndexOf '/'

                    {
                        Host = point.Host
                        Ports = point.Ports
                        Service = point.Text.Substring(0, slash)
                        Method = point.Text.Substring(slash + 1)
                        Metadata = point.Headers
                    }
            Holds = Router.grpcRouteHolds
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
                            &metadata
                        )
            Backend = _.Backend
            Authorization = _.Authorization
            Texts = fun mentioned -> TextSpace(mentioned, isMethod, [ ""; "M"; "/M"; "x/M" ])
        }

    /// The representative requests of tables with these conditions.
    let space (protocol: Protocol<'route, 'request>) (conditions: RequestConditions seq) =
        let conditions = Seq.cache conditions

        let mentioned =
            conditions
            |> Seq.collect _.Texts
            |> Seq.map (fun rule ->
                match rule with
                | Exactly text
                | StartingWith text -> text)

        RequestSpace(conditions, protocol.Texts mentioned)
