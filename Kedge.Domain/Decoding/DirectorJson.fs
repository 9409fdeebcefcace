namespace Kedge.Domain

open System
open System.Globalization
open Kedge.Domain.Decoded

/// The fields of `director.json`. See docs/configuration.md.
[<RequireQualifiedAccess>]
module internal DirectorJson =

    open Decode

    let proxyModes =
        [
            "ANY", ProxyMode.Any
            "REVERSE_PROXY", ProxyMode.ReverseProxy
            "FORWARD_PROXY", ProxyMode.ForwardProxy
        ]

    let private authorization =
        message (
            fields {
                let! anyPerms = field "any_perms" (list text)
                and! allPerms = field "all_perms" (list text)
                and! sans = field "client_cert_sans" (list text)
                and! networks = field "client_networks" (list text)
                and! denied = field "denied_client_networks" (list text)
                and! tokenIssuers = field "token_issuers" (list text)
                and! claims = field "claims" (mapOf "lists of values" (list text))
                and! anonymous = field "anonymous" flag

                return
                    {
                        AnyPerms = anyPerms
                        AllPerms = allPerms
                        ClientCertSans = sans
                        ClientNetworks = networks
                        DeniedClientNetworks = denied
                        TokenIssuers = tokenIssuers
                        Claims = claims
                        Anonymous = anonymous
                    }
            }
        )

    /// `present`, which must be true. A route cannot require absence, since the order of the routes expresses it: the
    /// route for requests with the header comes first.
    let private present: Decoder<HeaderCondition> =
        {
            Default = HeaderCondition.Present
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonBool false ->
                        let rule =
                            "must be true; for requests without the header, put the route for those with it first"

                        decoding.Report(node.Start, path, Malformed(rule, decoding.Found node))
                    | _ -> flag.Read decoding path node |> ignore

                    HeaderCondition.Present
        }

    /// A text that is the value, or an object with another condition on the value.
    let private headerCondition: Decoder<HeaderCondition> =
        let other =
            message (
                oneOf
                    [
                        optional "present" present
                        optional "prefix" (text.As HeaderCondition.StartsWith)
                    ]
                    HeaderCondition.Present
            )

        {
            Default = HeaderCondition.Is ""
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonString value -> HeaderCondition.Is value
                    | JsonObject _ -> other.Read decoding path node
                    | _ ->
                        let expected = "a text, {\"prefix\": \"…\"} or {\"present\": true}"
                        decoding.Report(node.Start, path, WrongType(expected, decoding.Found node))
                        HeaderCondition.Is ""
        }

    let private headerMap = mapOf "header values" headerCondition

    let private rewrite: Decoder<Rewrite> =
        message (
            fields {
                let! prefix = optional "replace_prefix" text
                and! full = optional "replace_full" text
                and! host = field "host" text
                and! reverse = field "reverse_location" flag

                return
                    {
                        ReplacePrefix = prefix
                        ReplaceFull = full
                        Host = host
                        ReverseLocation = reverse
                    }
            }
        )

    let private grpcRewrite: Decoder<GrpcRewrite> =
        message (
            fields {
                let! host = field "host" text
                return { GrpcRewrite.Host = host }
            }
        )

    let httpRoute: Decoder<HttpRoute> =
        message (
            fields {
                let! name = field "name" text
                and! backendName = field "backend_name" text
                and! backends = field "backends" (list SplitJson.backend)
                and! splitBy = optional "split_by" SplitJson.key

                and! onUnavailable =
                    field "on_unavailable" (enumeration SplitJson.onUnavailable enum<OnUnavailable>)

                and! mirror = field "mirror" (list MirrorJson.mirror)
                and! host = field "host_matcher" text
                and! port = field "port_matcher" optionalPort
                and! methods = field "methods" (list text)
                and! paths = field "path_rules" (list text)
                and! query = field "query_matcher" textMap
                and! headers = field "header_matcher" headerMap
                and! mode = field "proxy_mode" (enumeration proxyModes enum<ProxyMode>)
                and! rewrite = optional "rewrite" rewrite
                and! requestHeaders = optional "request_headers" HeaderJson.changes
                and! responseHeaders = optional "response_headers" HeaderJson.changes
                and! listener = field "listener" ActionJson.listener
                and! redirect = optional "redirect" ActionJson.redirect
                and! respond = optional "respond" ActionJson.respond
                and! timeouts = optional "timeouts" RetryJson.timeouts
                and! retry = optional "retry" RetryJson.retry
                and! autogenerated = field "autogenerated" flag
                and! authorization = optional "authorization" authorization
                and! rateLimits = field "rate_limits" (list text)
                and! rateLimitHeaders = field "rate_limit_headers" flag

                return
                    {
                        Name = name
                        BackendName = backendName
                        Backends = backends
                        SplitBy = splitBy
                        OnUnavailable = onUnavailable
                        Mirror = mirror
                        HostMatcher = host
                        PortMatcher = port
                        Methods = methods
                        PathRules = paths
                        QueryMatcher = query
                        HeaderMatcher = headers
                        ProxyMode = mode
                        Rewrite = rewrite
                        RequestHeaders = requestHeaders
                        ResponseHeaders = responseHeaders
                        Listener = listener
                        Redirect = redirect
                        Respond = respond
                        Timeouts = timeouts
                        Retry = retry
                        Autogenerated = autogenerated
                        Authorization = authorization
                        RateLimits = rateLimits
                        RateLimitHeaders = rateLimitHeaders
                    }
            }
        )

    /// The parts of `host`, `host:port` or `[v6]:port`; the port is 0 when there is none.
    let private splitAuthority (authority: string) : struct (string * uint32) voption =
        let colon = authority.LastIndexOf ':'

        let isBareIPv6 = authority.IndexOf ':' <> colon && not (authority.StartsWith '[')

        if colon < 0 || isBareIPv6 || authority.EndsWith ']' then
            ValueSome(authority, 0u)
        else
            let port = authority.Substring(colon + 1)

            match UInt16.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture) with
            | true, port when port > 0us -> ValueSome(authority.Substring(0, colon), uint32 port)
            | _ -> ValueNone

    /// The authority's host and port. `authority_matcher` is another name for the host, which may include the port.
    let private authority: Fields<struct (string * uint32)> =
        let host = field "authority_host_matcher" text
        let port = field "authority_port_matcher" optionalPort
        let both = FieldName.Of "authority_matcher"

        {
            Names = host.Names @ port.Names @ [ both ]
            Take =
                fun scope ->
                    let hostText = host.Take scope
                    let portNumber = port.Take scope

                    match find both scope with
                    | ValueNone -> hostText, portNumber
                    | ValueSome node ->
                        let path = Field both.Snake :: scope.Path
                        let report problem = scope.Decoding.Report(node.Start, path, problem)
                        let found = scope.Decoding.Found node

                        match
                            find
                                host.Names.Head
                                { scope with
                                    Decoding = Decoding(JsonText ReadOnlyMemory.Empty)
                                }
                        with
                        | ValueSome _ ->
                            report (Malformed("says the same as authority_host_matcher: keep one of them", found))
                            hostText, portNumber
                        | ValueNone ->
                            let authority = text.Read scope.Decoding path node

                            match splitAuthority authority with
                            | ValueSome(host, 0u) -> host, portNumber
                            | ValueSome(host, port) ->
                                if portNumber <> 0u && portNumber <> port then
                                    let rule = $"has another port than authority_port_matcher, which is {portNumber}"

                                    report (Malformed(rule, found))

                                host, port
                            | ValueNone ->
                                report (Malformed("must be a host, or a host and a port of 1 to 65535", found))
                                "", portNumber
        }

    let grpcRoute: Decoder<GrpcRoute> =
        message (
            fields {
                let! name = field "name" text
                and! backendName = field "backend_name" text
                and! backends = field "backends" (list SplitJson.backend)
                and! splitBy = optional "split_by" SplitJson.key

                and! onUnavailable =
                    field "on_unavailable" (enumeration SplitJson.onUnavailable enum<OnUnavailable>)

                and! mirror = field "mirror" (list MirrorJson.mirror)
                and! service = field "service_name_matcher" text
                and! struct (host, port) = authority
                and! metadata = field "metadata_matcher" headerMap
                and! rewrite = optional "rewrite" grpcRewrite
                and! requestHeaders = optional "request_headers" HeaderJson.changes
                and! responseHeaders = optional "response_headers" HeaderJson.changes
                and! listener = field "listener" ActionJson.listener
                and! respond = optional "respond" ActionJson.grpcRespond
                and! timeouts = optional "timeouts" RetryJson.timeouts
                and! retry = optional "retry" RetryJson.grpcRetry
                and! autogenerated = field "autogenerated" flag
                and! authorization = optional "authorization" authorization
                and! rateLimits = field "rate_limits" (list text)
                and! rateLimitHeaders = field "rate_limit_headers" flag

                return
                    {
                        Name = name
                        BackendName = backendName
                        Backends = backends
                        SplitBy = splitBy
                        OnUnavailable = onUnavailable
                        Mirror = mirror
                        ServiceNameMatcher = service
                        AuthorityHostMatcher = host
                        AuthorityPortMatcher = port
                        MetadataMatcher = metadata
                        Rewrite = rewrite
                        RequestHeaders = requestHeaders
                        ResponseHeaders = responseHeaders
                        Listener = listener
                        Respond = respond
                        Timeouts = timeouts
                        Retry = retry
                        Autogenerated = autogenerated
                        Authorization = authorization
                        RateLimits = rateLimits
                        RateLimitHeaders = rateLimitHeaders
                    }
            }
        )

    let private portRange =
        message (
            fields {
                let! from = field "from" port
                and! until = field "to" port
                return { From = from; To = until }
            }
        )

    let private adhocPort =
        message (
            fields {
                let! standard = field "default" optionalPort
                and! allowed = field "allowed" (list port)
                and! ranges = field "allowed_ranges" (list portRange)

                return
                    {
                        Default = standard
                        Allowed = allowed
                        AllowedRanges = ranges
                    }
            }
        )

    let private dnsNameReplace =
        message (
            fields {
                let! pattern = field "pattern" text
                and! substitution = field "substitution" text

                return
                    {
                        Pattern = pattern
                        Substitution = substitution
                    }
            }
        )

    let private adhocRule =
        message (
            fields {
                let! name = field "dns_name_matcher" text
                and! port = optional "port" adhocPort
                and! replace = optional "dns_name_replace" dnsNameReplace
                and! authorization = optional "authorization" authorization

                return
                    {
                        DnsNameMatcher = name
                        Port = port
                        DnsNameReplace = replace
                        Authorization = authorization
                    }
            }
        )

    let private section (route: Decoder<'route>) =
        message (
            fields {
                let! routes = field "routes" (list route)
                and! rules = field "adhoc_rules" (list adhocRule)
                return struct (routes, rules)
            }
        )

    let director: Decoder<Director> =
        message (
            fields {
                let! struct (grpcRoutes, grpcRules) = field "grpc" (section grpcRoute)
                and! struct (httpRoutes, httpRules) = field "http" (section httpRoute)
                and! rateLimits = field "rate_limits" (list RateLimitJson.rateLimit)
                and! rateLimitHeaders = field "rate_limit_headers" flag
                and! tokenIssuers = field "token_issuers" (list IssuerJson.tokenIssuer)

                return
                    {
                        HttpRoutes = httpRoutes
                        GrpcRoutes = grpcRoutes
                        AdhocRules = { Http = httpRules; Grpc = grpcRules }
                        RateLimits = rateLimits
                        RateLimitHeaders = rateLimitHeaders
                        TokenIssuers = tokenIssuers
                    }
            }
        )
