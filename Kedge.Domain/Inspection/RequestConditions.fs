namespace Kedge.Domain

open System

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
        /// Alternatives; distinct, sorted. Empty = any.
        Methods: string list
        /// Alternatives; never empty.
        Texts: TextCondition list
        /// The decoded values that query parameters must have; each name once, sorted.
        Query: (string * string) list
        /// For each of these headers, one of its values meets the condition. Names in lower case; distinct, sorted,
        /// none implied by another.
        Headers: (string * TextCondition) list
        /// Alternatives; never empty.
        Modes: Decoded.ProxyMode list
        /// `Tls`, `Plain` or both; never empty.
        Listeners: Decoded.Listener list
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

    /// Whether each header that satisfies `narrow` also satisfies `wide`.
    let private implies (narrow: string * TextCondition) (wide: string * TextCondition) =
        fst narrow = fst wide && TextCondition.covers (snd wide) (snd narrow)

    let private normalHeaders (headers: (string * TextCondition) list) =
        let headers = List.distinct headers

        headers
        |> List.filter (fun header ->
            headers
            |> List.forall (fun other -> other = header || not (implies other header)))
        |> List.sort

    let private ofHeaders (matchers: HeaderMatcher array) =
        [
            for matcher in matchers do
                matcher.Name.ToLowerInvariant(),
                match matcher.Condition with
                | Decoded.HeaderCondition.Is value -> Exactly value
                | Decoded.HeaderCondition.StartsWith prefix -> StartingWith prefix
                | Decoded.HeaderCondition.Present -> StartingWith ""
        ]
        |> normalHeaders

    let private ofListener listener =
        match listener with
        | Decoded.Listener.Any -> [ Decoded.Listener.Tls; Decoded.Listener.Plain ]
        | listener -> [ listener ]

    let private ofPort port =
        match port with
        | AnyPort -> NoPort
        | ExactPort port -> OnePort port

    let private ofHost host =
        match host with
        | AnyHost -> AnyHost
        | ExactHost host -> ExactHost(host.ToLowerInvariant())
        | HostBelow parent -> HostBelow(parent.ToLowerInvariant())

    // `*` is the path of `OPTIONS *` (RFC 9112, 3.2.4); every other path starts with a slash.
    let private anyPath = [ StartingWith "/"; Exactly "*" ]

    /// The texts are canonical paths. Two routes with equal conditions take the same requests.
    let ofHttp (route: HttpRoute) : RequestConditions =
        {
            Host = ofHost route.Host
            Port = ofPort route.Port
            Methods = route.Methods |> Seq.distinct |> Seq.sort |> Seq.toList
            Texts =
                match Array.toList route.Paths with
                | [] -> anyPath
                | rules ->
                    rules
                    |> List.collect (fun rule ->
                        match rule with
                        | ExactPath path -> [ Exactly path ]
                        | PathTree root -> [ Exactly root; StartingWith(root + "/") ]
                        | PathPrefix "" -> anyPath
                        | PathPrefix prefix -> [ StartingWith prefix ])
                    |> normalTexts
            Query =
                [ for matcher in route.Query -> matcher.Name, matcher.Value ]
                |> List.distinct
                |> List.sort
            Headers = ofHeaders route.Headers
            Modes =
                match route.Mode with
                | Decoded.ProxyMode.Any -> [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ]
                | mode -> [ mode ]
            Listeners = ofListener route.Listener
        }

    /// The texts are `package.Service/Method`. Since each has one slash, a matcher of the service is a prefix too.
    let ofGrpc (route: GrpcRoute) : RequestConditions =
        {
            Host = ofHost route.Host
            Port = ofPort route.Port
            Methods = [ "POST" ]
            Texts =
                [
                    match route.Service with
                    | AnyService -> StartingWith ""
                    | ExactService service -> StartingWith(service + "/")
                    | ServicePrefix prefix
                    | MethodPrefix prefix -> StartingWith prefix
                    | ExactMethod method -> Exactly method
                ]
            Query = []
            Headers = ofHeaders route.Metadata
            Modes = [ Decoded.ProxyMode.ReverseProxy ]
            Listeners = ofListener route.Listener
        }

    /// The conditions that every HTTP request meets.
    let anyHttp: RequestConditions =
        {
            Host = AnyHost
            Port = NoPort
            Methods = []
            Texts = anyPath
            Query = []
            Headers = []
            Modes = [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ]
            Listeners = ofListener Decoded.Listener.Any
        }

    /// The conditions that every gRPC call meets.
    let anyGrpc: RequestConditions =
        { anyHttp with
            Methods = [ "POST" ]
            Texts = [ StartingWith "" ]
            Modes = [ Decoded.ProxyMode.ReverseProxy ]
        }

    /// The values that two lists with the same order share.
    let private meetLists (a: 'value list) (b: 'value list) =
        if a = b then
            a
        else
            List.filter (fun value -> List.contains value b) a

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

    let private meetHosts (a: HostMatcher) (b: HostMatcher) =
        match a, b with
        | AnyHost, host
        | host, AnyHost -> ValueSome host
        | _ when a = b -> ValueSome a
        | (ExactHost name | HostBelow name), (HostBelow _ as wide) when wide.Holds(name.AsSpan()) -> ValueSome a
        | (HostBelow _ as wide), (ExactHost name | HostBelow name) when wide.Holds(name.AsSpan()) -> ValueSome b
        | _ -> ValueNone

    let private meetMethods (a: string list) (b: string list) =
        match a, b with
        | [], methods
        | methods, [] -> ValueSome methods
        | _ when a = b -> ValueSome a
        | _ ->
            match List.filter (fun method -> List.contains method b) a with
            | [] -> ValueNone
            | methods -> ValueSome methods

    /// Only the first value of a query parameter counts, so no request satisfies two of them.
    let private meetQueries (a: (string * string) list) (b: (string * string) list) =
        if a.IsEmpty then
            ValueSome b
        elif b.IsEmpty || a = b then
            ValueSome a
        else
            let both = List.distinct (a @ b) |> List.sort

            if (List.distinctBy fst both).Length = both.Length then
                ValueSome both
            else
                ValueNone

    /// The conditions of both; None when no request satisfies both.
    let meet (a: RequestConditions) (b: RequestConditions) : RequestConditions option =
        match meetHosts a.Host b.Host with
        | ValueNone -> None
        | ValueSome host ->
            match meetPorts a.Port b.Port, meetMethods a.Methods b.Methods, meetQueries a.Query b.Query with
            | ValueSome port, ValueSome methods, ValueSome query ->
                let modes = meetLists a.Modes b.Modes
                let listeners = meetLists a.Listeners b.Listeners

                let texts =
                    List.allPairs a.Texts b.Texts
                    |> List.choose (fun (x, y) -> TextCondition.meet x y)

                if modes.IsEmpty || listeners.IsEmpty || texts.IsEmpty then
                    None
                else
                    Some
                        {
                            Host = host
                            Port = port
                            Methods = methods
                            Texts = normalTexts texts
                            Query = query
                            Headers = normalHeaders (a.Headers @ b.Headers)
                            Modes = modes
                            Listeners = listeners
                        }
            | _ -> None
