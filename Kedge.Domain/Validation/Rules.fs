namespace Kedge.Domain

open System
open Kedge.Domain.Decoded

/// The conditions of a rule on one line, for logs, pages and scripts: `host=a.example port=443 path=/api/*`.
module private RuleText =

    let host (name: string) (matcher: HostMatcher) =
        if matcher.IsAnyHost then
            []
        else
            [ $"{name}={matcher.Text}" ]

    let port (matcher: PortMatcher) = if matcher.IsAnyPort then [] else [ $"port={matcher.Text}" ]

    let headers (kind: string) (matchers: HeaderMatcher array) = [ for matcher in matchers -> $"{kind}:{matcher.Text}" ]

    let listener (listener: Listener) =
        if listener = Listener.Tls then
            []
        else
            [ $"listener={ListenerMatcher.text listener}" ]

    let join (conditions: string list) =
        match conditions with
        | [] -> "any"
        | conditions -> String.concat " " conditions

/// An HTTP route whose matchers are ready to use. It matches the requests that meet all conditions.
type HttpRoute =
    {
        Host: HostMatcher
        Port: PortMatcher
        /// Alternatives; empty = any.
        Methods: string array
        /// Alternatives; empty = any path.
        Paths: PathRule array
        Query: QueryMatcher array
        Headers: HeaderMatcher array
        Mode: ProxyMode
        Listener: Listener
        Outcome: Outcome
        Marks: RouteMarks
    }

    /// The route that sends every request to the backend.
    static member ToBackend(backend: string) : HttpRoute =
        {
            Host = AnyHost
            Port = AnyPort
            Methods = [||]
            Paths = [||]
            Query = [||]
            Headers = [||]
            Mode = ProxyMode.Any
            Listener = Listener.Tls
            Outcome = Outcome.ToBackend backend
            Marks = RouteMarks.None
        }

    /// Its conditions on one line: `host=a.example port=443 path=/api/*`.
    member route.Text: string =
        RuleText.join
            [
                yield! RuleText.host "host" route.Host
                yield! RuleText.port route.Port
                if route.Methods.Length > 0 then
                    "method=" + MethodMatcher.text route.Methods
                if route.Paths.Length > 0 then
                    "path=" + String.concat "," (route.Paths |> Array.map _.Text)
                for matcher in route.Query do
                    "query:" + matcher.Text
                yield! RuleText.headers "header" route.Headers
                if route.Mode <> ProxyMode.Any then
                    "mode=" + ModeMatcher.text route.Mode
                yield! RuleText.listener route.Listener
            ]

/// A gRPC route whose matchers are ready to use. It matches the calls that meet all conditions.
type GrpcRoute =
    {
        Service: ServiceMatcher
        Host: HostMatcher
        Port: PortMatcher
        Metadata: HeaderMatcher array
        Listener: Listener
        Outcome: Outcome
        Marks: RouteMarks
    }

    /// The route that sends every call to the backend.
    static member ToBackend(backend: string) : GrpcRoute =
        {
            Service = AnyService
            Host = AnyHost
            Port = AnyPort
            Metadata = [||]
            Listener = Listener.Tls
            Outcome = Outcome.ToBackend backend
            Marks = RouteMarks.None
        }

    /// Its conditions on one line: `service=p.S authority=a.example`.
    member route.Text: string =
        RuleText.join
            [
                if not route.Service.IsAnyService then
                    $"service={route.Service.Text}"
                yield! RuleText.host "authority" route.Host
                yield! RuleText.port route.Port
                yield! RuleText.headers "metadata" route.Metadata
                yield! RuleText.listener route.Listener
            ]

/// A rule for requests that no route matches.
type AdhocRule =
    {
        Name: DnsNameMatcher
        /// 0 = 80.
        DefaultPort: uint16
        AllowedPorts: uint16 array
        /// Ranges include both ends.
        AllowedRanges: struct (uint16 * uint16) array
        Replace: DnsNameReplace option
        Authorization: Authorization option
    }

    /// Whether requests may go to this port.
    member rule.Allows(port: uint16) : bool =
        Array.contains port rule.AllowedPorts
        || rule.AllowedRanges
           |> Array.exists (fun (struct (first, last)) -> first <= port && port <= last)

    /// Its conditions on one line: `name=*.pod ports=80,8000-8080`.
    member rule.Text: string =
        let ports =
            [
                for port in rule.AllowedPorts -> string port
                for struct (first, last) in rule.AllowedRanges -> $"{first}-{last}"
            ]

        RuleText.join
            [
                $"name={rule.Name.Text}"
                if not ports.IsEmpty then
                    "ports=" + String.concat "," ports
            ]

    /// The index of the rule that decides for this host (without port and brackets): the first whose name matches.
    static member Decider(rules: AdhocRule array, host: string) : int option =
        rules |> Array.tryFindIndex (fun rule -> rule.Name.Holds(host.AsSpan()))
