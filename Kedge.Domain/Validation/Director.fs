namespace Kedge.Domain

open System

/// A director file whose rules are all valid: the second shape of the configuration. Created only by validation.
[<Sealed>]
type Director
    internal
    (httpRoutes, grpcRoutes, adhocRules, rateLimits, tokenIssuers: TokenIssuer list, entries: unit -> Decoded.Director)
    =
    member _.HttpRoutes: HttpRoute array = httpRoutes
    member _.GrpcRoutes: GrpcRoute array = grpcRoutes
    member _.AdhocRules: PerProtocol<AdhocRule array> = adhocRules
    /// All rate limits, whether or not routes name them.
    member _.RateLimits: RateLimit list = rateLimits
    /// All token issuers, whether or not rules name them, except the one that the flags set up.
    member _.TokenIssuers: TokenIssuer list = tokenIssuers
    /// The same rules in their first shape.
    member _.Entries: Decoded.Director = entries ()

[<RequireQualifiedAccess>]
module Director =

    let empty =
        let entries: Decoded.Director =
            {
                HttpRoutes = []
                GrpcRoutes = []
                AdhocRules = PerProtocol.Both []
                RateLimits = []
                RateLimitHeaders = false
                TokenIssuers = []
            }

        Director([||], [||], PerProtocol.Both [||], [], [], (fun () -> entries))

    let private hostMatcher (checks: Checks) path (portField: string) (text: string) : HostMatcher =
        let hint =
            if text.Contains "://" then
                Some "must be a host without a scheme"
            elif text.Contains '/' then
                Some "must be a host without a path"
            elif text = "*" then
                Some "must be a host; omit the field for any host"
            else
                match HostMatcher.tryParse text, HostMatcher.tryParseAuthority text with
                | Error _, Ok _ -> Some $"must be a host without a port; write the port in {portField}"
                | _ -> None

        match hint with
        | Some rule ->
            checks.Malformed(path, rule, text)
            AnyHost
        | None -> checks.Parsed(path, text, AnyHost, HostMatcher.tryParse text)

    let private portMatcher (checks: Checks) path (port: uint32) : PortMatcher =
        checks.InRange(path, NumberRange.optionalPort, port)
        PortMatcher.tryParse port |> Result.defaultValue AnyPort

    let private toBackend (checks: Checks) path (name: string) : RouteAction =
        checks.Require(Field "backend_name" :: path, NameRule.backend, name, NameRule.isBackend name)
        ToBackend name

    /// The one action of a route. `alternatives` are the fields that set one, each with its action if the route has it.
    let private action (checks: Checks) path (alternatives: (string * RouteAction option) list) : RouteAction =
        match alternatives |> List.filter (fun (_, action) -> action.IsSome) with
        | [ _, Some only ] -> only
        | found ->
            checks.Report(path, NotExactlyOne(List.map fst alternatives, List.map fst found))
            ToBackend ""

    let private optionalText (read: string -> 'value) (text: string) : 'value option =
        if text = "" then None else Some(read text)

    let private pathRule (checks: Checks) path (text: string) : PathRule =
        if text <> "*" && not (text.StartsWith '/') then
            checks.Malformed(path, "must start with `/`", text)
            PathPrefix ""
        else
            checks.Parsed(path, text, PathPrefix "", PathRule.tryParse text)

    let private serviceMatcher (checks: Checks) path (text: string) : ServiceMatcher =
        if text.StartsWith '/' then
            checks.Malformed(path, "must be written without the leading `/`", text)
            AnyService
        else
            checks.Parsed(path, text, AnyService, ServiceMatcher.tryParse text)

    let private isHeaderName (name: string) =
        HeaderMatcher.tryParse (name, Decoded.HeaderCondition.Present) |> Result.isOk

    let private headerMatchers (checks: Checks) path (headers: Map<string, Decoded.HeaderCondition>) =
        [|
            for KeyValue(name, condition) in headers do
                match HeaderMatcher.tryParse (name, condition) with
                | Ok matcher -> matcher
                | Error rule ->
                    let struct (found, part) =
                        match condition with
                        | _ when not (isHeaderName name) -> struct (name, [])
                        | Decoded.HeaderCondition.Is value -> struct (value, [])
                        | Decoded.HeaderCondition.StartsWith prefix -> struct (prefix, [ Field "prefix" ])
                        | Decoded.HeaderCondition.Present -> struct (name, [])

                    checks.Malformed(part @ Field name :: path, "must be " + rule, found)
        |]

    let private methods (checks: Checks) path (methods: string list) : string array =
        methods
        |> Seq.mapi (fun i method ->
            checks.Parsed(Step.Index i :: Field "methods" :: path, method, method, MethodMatcher.tryParse method))
        |> Seq.distinct
        |> Seq.toArray

    let private queryMatchers (checks: Checks) path (query: Map<string, string>) : QueryMatcher array =
        [|
            for KeyValue(name, value) in query do
                let parsed = QueryMatcher.tryParse (name, value)
                checks.Parsed(Field name :: path, name, QueryMatcher.Of(name, value), parsed)
        |]

    /// A key is a Header-Name of the gRPC protocol. That requires lower case, but the comparison ignores case.
    let private metadataMatchers (checks: Checks) path (metadata: Map<string, Decoded.HeaderCondition>) =
        let isKey =
            String.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '-' || c = '_' || c = '.')

        for KeyValue(key, _) in metadata do
            checks.Require(
                Field key :: path,
                "must be a metadata key: letters, digits, `-`, `_` and `.`",
                key,
                isKey key || not (isHeaderName key)
            )

        headerMatchers checks path metadata

    let private authorization (checks: Checks) path (authorization: Decoded.Authorization option) =
        match authorization with
        | None -> ()
        | Some rules ->
            let path = Field "authorization" :: path

            if
                rules.Anonymous
                && not (
                    rules.AnyPerms.IsEmpty
                    && rules.AllPerms.IsEmpty
                    && rules.ClientCertSans.IsEmpty
                    && rules.ClientNetworks.IsEmpty
                    && rules.DeniedClientNetworks.IsEmpty
                    && rules.TokenIssuers.IsEmpty
                    && rules.Claims.IsEmpty
                )
            then
                let rule = "opens the route to everyone, so it excludes the other requirements"
                checks.Report(Field "anonymous" :: path, Malformed(rule, "true"))

            let each field (texts: string list) rule holds =
                texts
                |> List.iteri (fun i text ->
                    checks.Require(Step.Index i :: Field field :: path, rule, text, holds text))

            let permission = "must be a permission, not an empty text"
            each "any_perms" rules.AnyPerms permission (fun text -> text.Trim() <> "")
            each "all_perms" rules.AllPerms permission (fun text -> text.Trim() <> "")

            let networks field (texts: string list) =
                texts
                |> List.iteri (fun i text ->
                    let path = Step.Index i :: Field field :: path
                    checks.Parsed(path, text, AddressSet.Empty, AddressSet.TryParse text) |> ignore)

            networks "client_networks" rules.ClientNetworks
            networks "denied_client_networks" rules.DeniedClientNetworks

            each "client_cert_sans" rules.ClientCertSans "must be a name, or `*.` and the end of one" (fun san ->
                let name =
                    if san.StartsWith("*.", StringComparison.Ordinal) then
                        san.Substring 2
                    else
                        san

                NameRule.isPlainText name && not (name.Contains '*'))

    /// A redirect or a fixed response is not worth the credentials that a caller would send in clear text.
    let private demandsInClear (checks: Checks) path listener (action: RouteAction) authorization =
        match authorization with
        | Some(demands: Decoded.Authorization) when
            listener = Decoded.Listener.Plain
            && action.Backends.IsEmpty
            && not demands.Anonymous
            ->
            let rule =
                "must be omitted: on the PLAIN listener, a redirect or a fixed answer asks for no token or certificate"

            checks.Report(Field "authorization" :: path, Malformed(rule, "listener PLAIN"))
        | _ -> ()

    let private marks (checks: Checks) path (name: string) (autogenerated: bool) : RouteMarks =
        if name <> "" then
            checks.Require(Field "name" :: path, NameRule.route, name, NameRule.isRoute name)

        {
            Name = name
            Autogenerated = autogenerated
        }

    let internal httpRoute (checks: Checks) path (route: Decoded.HttpRoute) : HttpRoute =
        let paths =
            route.PathRules
            |> Seq.mapi (fun i rule -> pathRule checks (Step.Index i :: Field "path_rules" :: path) rule)
            |> Array.ofSeq

        let split =
            SplitRules.validate checks path Protocol.Http route.Backends route.SplitBy route.OnUnavailable

        let action =
            action
                checks
                path
                [
                    "backend_name", optionalText (toBackend checks path) route.BackendName
                    "backends", split
                    "redirect",
                    route.Redirect
                    |> Option.map (OwnAction.redirect checks (Field "redirect" :: path) paths >> Redirects)
                    "respond",
                    route.Respond
                    |> Option.map (OwnAction.respond checks (Field "respond" :: path) >> Responds)
                ]

        authorization checks path route.Authorization
        demandsInClear checks path route.Listener action route.Authorization
        let changesRequests = route.Rewrite.IsSome, route.RequestHeaders.IsSome
        FilterRules.onlyForwarded checks path action.Backends changesRequests

        {
            Host = hostMatcher checks (Field "host_matcher" :: path) "port_matcher" route.HostMatcher
            Port = portMatcher checks (Field "port_matcher" :: path) route.PortMatcher
            Methods = methods checks path route.Methods
            Paths = paths
            Query = queryMatchers checks (Field "query_matcher" :: path) route.QueryMatcher
            Headers = headerMatchers checks (Field "header_matcher" :: path) route.HeaderMatcher
            Mode = route.ProxyMode
            Listener = route.Listener
            Outcome =
                {
                    Action = action
                    Mirrors = MirrorRules.validate checks path Protocol.Http action.Backends route.Mirror
                    Filters =
                        Filters.None
                        |> FilterRules.rewrite checks path paths route.Rewrite
                        |> FilterRules.headers checks path route.RequestHeaders route.ResponseHeaders
                    BackendFilters = FilterRules.backends checks path route.Backends
                    Policies = RetryRules.http checks path action.Backends route
                    Demands = route.Authorization
                    Issuers = []
                    Limits = RouteLimits.None
                }
            Marks = marks checks path route.Name route.Autogenerated
        }

    let internal grpcRoute (checks: Checks) path (route: Decoded.GrpcRoute) : GrpcRoute =
        let hostPath = Field "authority_host_matcher" :: path

        let split =
            SplitRules.validate checks path Protocol.Grpc route.Backends route.SplitBy route.OnUnavailable

        let action =
            action
                checks
                path
                [
                    "backend_name", optionalText (toBackend checks path) route.BackendName
                    "backends", split
                    "respond",
                    route.Respond
                    |> Option.map (OwnAction.grpcRespond checks (Field "respond" :: path) >> RespondsGrpc)
                ]

        authorization checks path route.Authorization
        demandsInClear checks path route.Listener action route.Authorization
        let changesRequests = route.Rewrite.IsSome, route.RequestHeaders.IsSome
        FilterRules.onlyForwarded checks path action.Backends changesRequests

        {
            Service = serviceMatcher checks (Field "service_name_matcher" :: path) route.ServiceNameMatcher
            Host = hostMatcher checks hostPath "authority_port_matcher" route.AuthorityHostMatcher
            Port = portMatcher checks (Field "authority_port_matcher" :: path) route.AuthorityPortMatcher
            Metadata = metadataMatchers checks (Field "metadata_matcher" :: path) route.MetadataMatcher
            Listener = route.Listener
            Outcome =
                {
                    Action = action
                    Mirrors = MirrorRules.validate checks path Protocol.Grpc action.Backends route.Mirror
                    Filters =
                        Filters.None
                        |> FilterRules.grpcRewrite checks path route.Rewrite
                        |> FilterRules.headers checks path route.RequestHeaders route.ResponseHeaders
                    BackendFilters = FilterRules.backends checks path route.Backends
                    Policies = RetryRules.grpc checks path action.Backends route
                    Demands = route.Authorization
                    Issuers = []
                    Limits = RouteLimits.None
                }
            Marks = marks checks path route.Name route.Autogenerated
        }

    let private boundary (checks: Checks) path field (range: NumberRange) (port: uint32) =
        if port = 0u then
            checks.Report(path, Missing field)
        else
            checks.InRange(Field field :: path, range, port)

    let private adhocPort (checks: Checks) path (port: Decoded.AdhocPort) =
        checks.InRange(Field "default" :: path, NumberRange.optionalPort, port.Default)

        port.Allowed
        |> List.iteri (fun i port -> checks.InRange(Step.Index i :: Field "allowed" :: path, NumberRange.port, port))

        port.AllowedRanges
        |> List.iteri (fun i range ->
            let path = Step.Index i :: Field "allowed_ranges" :: path
            boundary checks path "from" NumberRange.port range.From

            let fromOn =
                { NumberRange.port with
                    Min = max NumberRange.port.Min (min range.From NumberRange.port.Max)
                }

            boundary checks path "to" fromOn range.To)

    /// Names are in lower case when kedge searches them for the pattern.
    let private dnsNameReplace (checks: Checks) path (replace: Decoded.DnsNameReplace) : Decoded.DnsNameReplace =
        let isPart =
            String.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '-' || c = '_' || c = '.' || c = ':')

        let rule = "must be a part of a host name"

        if replace.Pattern = "" then
            checks.Report(path, Missing "pattern")
        else
            checks.Require(Field "pattern" :: path, rule, replace.Pattern, isPart replace.Pattern)

        checks.Require(Field "substitution" :: path, rule, replace.Substitution, isPart replace.Substitution)

        {
            Pattern = replace.Pattern.ToLowerInvariant()
            Substitution = replace.Substitution.ToLowerInvariant()
        }

    let private adhocRule (checks: Checks) path (rule: Decoded.AdhocRule) : AdhocRule =
        let port =
            rule.Port
            |> Option.defaultValue
                {
                    Default = 0u
                    Allowed = []
                    AllowedRanges = []
                }

        adhocPort checks (Field "port" :: path) port
        authorization checks path rule.Authorization

        let name =
            if rule.DnsNameMatcher = "" then
                checks.Report(path, Missing "dns_name_matcher")
                ExactName ""
            else
                let parsed = DnsNameMatcher.tryParse (NameRule.withoutBrackets rule.DnsNameMatcher)
                checks.Parsed(Field "dns_name_matcher" :: path, rule.DnsNameMatcher, ExactName "", parsed)

        {
            Name = name
            DefaultPort = uint16 port.Default
            AllowedPorts = port.Allowed |> Seq.map uint16 |> Array.ofSeq
            AllowedRanges =
                port.AllowedRanges
                |> Seq.map (fun range -> struct (uint16 range.From, uint16 range.To))
                |> Array.ofSeq
            Replace =
                rule.DnsNameReplace
                |> Option.map (dnsNameReplace checks (Field "dns_name_replace" :: path))
            Authorization = rule.Authorization
        }

    /// The second shape of a decoded file, or everything that is wrong with it.
    let validate (file: Decoded.Director) : Result<Director, Violation list> =
        let checks = Checks()

        let each (protocol: Protocol) list check entries =
            let path = [ Field list; Field protocol.Section ]

            entries
            |> Seq.mapi (fun i entry -> check checks (Step.Index i :: path) entry)
            |> Array.ofSeq

        let rateLimits = RateLimitRules.rateLimits checks file.RateLimits
        let limitsOf path = RateLimitRules.ofRoute checks path rateLimits file.RateLimitHeaders
        let tokenIssuers = IssuerRules.tokenIssuers checks file.TokenIssuers

        /// The issuers that a rule names.
        let issuersOf path rule =
            IssuerRules.authorization checks path tokenIssuers rule
            IssuerRules.named tokenIssuers rule

        let limitedHttp checks path (entry: Decoded.HttpRoute) =
            let route = httpRoute checks path entry
            let limits = limitsOf path entry.RateLimits entry.RateLimitHeaders

            { route with
                Outcome =
                    { route.Outcome with
                        Limits = limits
                        Issuers = issuersOf path entry.Authorization
                    }
            }

        let limitedGrpc checks path (entry: Decoded.GrpcRoute) =
            let route = grpcRoute checks path entry
            let limits = limitsOf path entry.RateLimits entry.RateLimitHeaders

            { route with
                Outcome =
                    { route.Outcome with
                        Limits = limits
                        Issuers = issuersOf path entry.Authorization
                    }
            }

        let httpRoutes = each Protocol.Http "routes" limitedHttp file.HttpRoutes
        let grpcRoutes = each Protocol.Grpc "routes" limitedGrpc file.GrpcRoutes

        let adhocRules =
            PerProtocol.Init(fun protocol ->
                let check checks path (rule: Decoded.AdhocRule) =
                    issuersOf path rule.Authorization |> ignore
                    adhocRule checks path rule

                each protocol "adhoc_rules" check file.AdhocRules[protocol])

        let unique (protocol: Protocol) names = checks.Unique([ Field "routes"; Field protocol.Section ], "name", names)
        unique Protocol.Http (file.HttpRoutes |> Seq.map _.Name)
        unique Protocol.Grpc (file.GrpcRoutes |> Seq.map _.Name)

        match checks.Violations with
        | [] -> Ok(Director(httpRoutes, grpcRoutes, adhocRules, rateLimits, tokenIssuers, (fun () -> file)))
        | violations -> Error violations
