namespace Kedge.Domain.Discovery

open System
open Kedge.Domain
open Kedge.Domain.Decoded

/// Why a port of an exposed service gets no route.
type IgnoredReason =
    /// Its name, which is in the report, is neither `http`, `grpc`, `httptls` or `grpctls`, nor one of them followed by
    /// `-`.
    | NameSaysNothing
    /// Only TCP is proxied.
    | NotTcp of protocol: string
    /// A service of the type `ExternalName` is an alias of a DNS name and has no endpoints.
    | ExternalName

/// Why a service as a whole is quarantined. `annotation` is the full key.
type ServiceFault =
    | BadName of name: string
    | BadHostMatcher of annotation: string * rule: string * found: string
    | BadServiceNameMatcher of annotation: string * rule: string * found: string
    | UnknownTlsConfig of annotation: string * found: string * known: string list
    /// The host template does not produce a valid host for the service.
    | BadHost of host: string
    | BadPort of portName: string * port: int
    | BadTargetPort of portName: string * found: string

    member fault.Describe() : string =
        match fault with
        | BadName name -> $"'{name}' is not a name for a service or namespace"
        | BadHostMatcher(annotation, rule, found)
        | BadServiceNameMatcher(annotation, rule, found) -> $"annotation {annotation}: expected {rule}, found '{found}'"
        | UnknownTlsConfig(annotation, found, []) ->
            $"annotation {annotation}: no tls_server_configs entry is named '{found}' (there are none)"
        | UnknownTlsConfig(annotation, found, known) ->
            let known = String.Join(", ", known)
            $"annotation {annotation}: no tls_server_configs entry is named '{found}' (there are: {known})"
        | BadHost host -> $"the host template makes '{host}', which is not a host name"
        | BadPort(name, port) -> $"port '{name}': the number must be from 1 to 65535, found {port}"
        | BadTargetPort(name, found) ->
            $"port '{name}': targetPort must be a number from 1 to 65535 or a port name, found '{found}'"

/// The route of a claim. It is created once for each version of a service, so that two successive lists of routes share
/// everything that did not change.
type ClaimedRoute =
    | HttpClaim of HttpRoute
    | GrpcClaim of GrpcRoute

/// A route that a service asks for, and its backend.
type Claim =
    {
        Service: ServiceKey
        /// When the service was created: the older claim wins.
        Created: DateTimeOffset
        /// The index of the port in its service.
        PortIndex: int
        Protocol: Protocol
        /// A host in lower case, or `*.` followed by one.
        Host: string
        Port: uint16
        /// As annotated; empty without an annotation.
        ServiceNameMatcher: string
        /// Its canonical form. `AnyService` for HTTP.
        Methods: ServiceMatcher
        Route: ClaimedRoute
        Backend: Backend
    }

/// What one service alone asks for.
type ServiceReading =
    {
        Claims: Claim list
        /// The ports that get no route, with their names and numbers.
        Ignored: (ServicePort * IgnoredReason) list
        /// Not empty = the service is quarantined, and `Claims` is empty.
        Faults: ServiceFault list
    }

[<RequireQualifiedAccess>]
module BackendName =

    /// `S_N_T`. Injective: none of the three can contain a `_`, and a port's name is never a number.
    let ofTarget (key: ServiceKey) (target: string) : string = $"{key.Name}_{key.Namespace}_{target}"

    /// For the TLS port of a service that also has a plain-text port with this target: each needs its own backend. The
    /// name is unique, since no target contains a `_`.
    let ofTlsTwin (key: ServiceKey) (target: string) : string = ofTarget key target + "_tls"

[<RequireQualifiedAccess>]
module ServiceReading =

    let empty =
        {
            Claims = []
            Ignored = []
            Faults = []
        }

    /// What a port's name means: its protocol, and whether the backend speaks TLS.
    let kindOf (portName: string) : struct (Protocol * bool) voption =
        let first =
            match portName.IndexOf '-' with
            | -1 -> portName
            | hyphen -> portName.Substring(0, hyphen)

        match first with
        | "http" -> ValueSome(struct (Protocol.Http, false))
        | "grpc" -> ValueSome(struct (Protocol.Grpc, false))
        | "httptls" -> ValueSome(struct (Protocol.Http, true))
        | "grpctls" -> ValueSome(struct (Protocol.Grpc, true))
        | _ -> ValueNone

    /// Whether the label is present with any value but `false`.
    let isExposed (options: DiscoveryOptions) (service: Service) : bool =
        match service.Labels.TryFind options.ExposedLabel with
        | None
        | Some "false" -> false
        | Some _ -> true

    /// The `T` of `S_N_T`, or the invalid text.
    let private targetOf (port: ServicePort) : Result<string, string> =
        match port.TargetPort |> ValueOption.defaultValue (TargetNumber port.Port) with
        | TargetNumber number when number >= 1 && number <= 65535 -> Ok(string number)
        | TargetNumber number -> Error(string number)
        | TargetName name when KubernetesName.isPortName name -> Ok name
        | TargetName name -> Error name

    let private httpRoute backend host (port: uint16) : HttpRoute =
        {
            Name = ""
            BackendName = backend
            Backends = []
            SplitBy = None
            OnUnavailable = Decoded.OnUnavailable.Fail
            Mirror = []
            HostMatcher = host
            PortMatcher = uint32 port
            Methods = []
            PathRules = []
            QueryMatcher = Map.empty
            HeaderMatcher = Map.empty
            ProxyMode = ProxyMode.ReverseProxy
            Rewrite = None
            RequestHeaders = None
            ResponseHeaders = None
            Listener = Listener.Tls
            Redirect = None
            Respond = None
            Timeouts = None
            Retry = None
            Autogenerated = true
            Authorization = None
            RateLimits = []
            RateLimitHeaders = false
        }

    let private grpcRoute backend host (port: uint16) serviceNameMatcher : GrpcRoute =
        {
            Name = ""
            BackendName = backend
            Backends = []
            SplitBy = None
            OnUnavailable = Decoded.OnUnavailable.Fail
            Mirror = []
            ServiceNameMatcher = serviceNameMatcher
            AuthorityHostMatcher = host
            AuthorityPortMatcher = uint32 port
            MetadataMatcher = Map.empty
            Rewrite = None
            RequestHeaders = None
            ResponseHeaders = None
            Listener = Listener.Tls
            Respond = None
            Timeouts = None
            Retry = None
            Autogenerated = true
            Authorization = None
            RateLimits = []
            RateLimitHeaders = false
        }

    let private read (options: DiscoveryOptions) (tlsConfigs: string list) (service: Service) : ServiceReading =
        let key = service.Key
        let annotation name = service.Annotations.TryFind name

        let host =
            match annotation options.HostMatcherAnnotation with
            | Some found ->
                match HostMatcher.tryParse found with
                | Ok(ExactHost _ | HostBelow _ as host) -> Ok host.Text
                | Ok AnyHost -> Error(BadHostMatcher(options.HostMatcherAnnotation, "a host name", found))
                | Error rule -> Error(BadHostMatcher(options.HostMatcherAnnotation, rule, found))
            | None ->
                let host = options.HostOf key

                if KubernetesName.isSubdomain host then
                    Ok host
                else
                    Error(BadHost host)

        // An annotation follows the rule for the field in the file, except that it must not be empty.
        let methods =
            match annotation options.ServiceNameMatcherAnnotation with
            | None -> Ok struct ("", AnyService)
            | Some "" -> Error(BadServiceNameMatcher(options.ServiceNameMatcherAnnotation, "a service name", ""))
            | Some found ->
                match ServiceMatcher.tryParse found with
                | Ok matcher -> Ok struct (found, ServicePattern.canonical matcher)
                | Error rule -> Error(BadServiceNameMatcher(options.ServiceNameMatcherAnnotation, rule, found))

        let tlsConfig = annotation options.TlsConfigAnnotation
        let ports = service.Ports |> List.indexed

        let kept, ignored =
            ((ports, ([], []))
             ||> List.foldBack (fun (index, port) (kept, ignored) ->
                 match kindOf port.Name with
                 | _ when service.Type = "ExternalName" -> kept, (port, ExternalName) :: ignored
                 | ValueNone -> kept, (port, NameSaysNothing) :: ignored
                 | ValueSome _ when port.Protocol <> "TCP" -> kept, (port, NotTcp port.Protocol) :: ignored
                 | ValueSome(struct (protocol, tls)) ->
                     struct (index, port, protocol, tls, targetOf port) :: kept, ignored))

        let faults =
            [
                for name in [ service.Name; service.Namespace ] do
                    if not (KubernetesName.isLabel name) then
                        BadName name

                match host with
                | Error(BadHost _) when not (KubernetesName.isLabel service.Name) -> ()
                | Error fault -> fault
                | Ok _ -> ()

                match methods with
                | Error fault -> fault
                | Ok _ -> ()

                match tlsConfig with
                | Some found when not (List.contains found tlsConfigs) ->
                    UnknownTlsConfig(options.TlsConfigAnnotation, found, tlsConfigs)
                | _ -> ()

                for struct (_, port, _, _, target) in kept do
                    if port.Port < 1 || port.Port > 65535 then
                        BadPort(port.Name, port.Port)
                    else
                        match target with
                        | Error found -> BadTargetPort(port.Name, found)
                        | Ok _ -> ()
            ]

        let security =
            match tlsConfig with
            | Some name ->
                {
                    InsecureSkipVerify = false
                    ConfigName = name
                }
            | None ->
                {
                    InsecureSkipVerify = true
                    ConfigName = ""
                }

        let claim host (struct (annotated, methods)) (struct (index, port: ServicePort, protocol, tls, target)) =
            let target = target |> Result.defaultValue ""
            let number = uint16 port.Port

            let struct (annotated, methods) =
                match protocol with
                | Protocol.Grpc -> struct (annotated, methods)
                | Protocol.Http -> struct ("", AnyService)

            let hasPlainTwin =
                tls
                && kept
                   |> List.exists (fun (struct (_, _, otherProtocol, otherTls, otherTarget)) ->
                       otherProtocol = protocol && not otherTls && otherTarget = Ok target)

            let backend =
                if hasPlainTwin then
                    BackendName.ofTlsTwin key target
                else
                    BackendName.ofTarget key target

            {
                Service = key
                Created = service.Created
                PortIndex = index
                Protocol = protocol
                Host = host
                Port = number
                ServiceNameMatcher = annotated
                Methods = methods
                Route =
                    match protocol with
                    | Protocol.Http -> HttpClaim(httpRoute backend host number)
                    | Protocol.Grpc -> GrpcClaim(grpcRoute backend host number annotated)
                Backend =
                    {
                        Name = backend
                        Balancer = Balancer.RoundRobin
                        DisableConntracking = false
                        Security = if tls then Some security else None
                        Interceptors = []
                        Resolver = K8s $"{key.Name}.{key.Namespace}:{target}"
                        Autogenerated = true
                        MaxRequests = 0u
                        HealthCheck = None
                        OutlierDetection = None
                        RetryBudget = None
                    }
            }

        {
            Claims =
                match host, methods, faults with
                | Ok host, Ok methods, [] -> kept |> List.map (claim host methods)
                | _ -> []
            Ignored = ignored
            Faults = faults
        }

    /// What a service asks for, or everything that is wrong with it. `tlsConfigs` are the names of the files'
    /// `tls_server_configs`. A service that is not exposed asks for nothing.
    let ofService (options: DiscoveryOptions) (tlsConfigs: string list) (service: Service) : ServiceReading =
        if isExposed options service then
            read options tlsConfigs service
        else
            empty
