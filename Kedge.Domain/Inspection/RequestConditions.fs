namespace Kedge.Domain

/// The ports that a set of conditions requires.
[<Struct>]
type PortDemand =
    | NoPort
    | OnePort of port: uint16
    /// 80 from one route and 443 from another, which only an authority without a port satisfies.
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

    /// The texts are `package.Service/Method`. Since each has one slash, a matcher of the service is a prefix too.
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

    /// The conditions that every HTTP request meets.
    let anyHttp: RequestConditions =
        {
            Host = AnyHost
            Port = NoPort
            Texts = anyPath
            Headers = []
            Modes = [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ]
        }

    /// The conditions that every gRPC call meets.
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
