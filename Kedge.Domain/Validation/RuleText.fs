namespace Kedge.Domain

/// The conditions of a rule in a line, for logs, pages and scripts: `host=a.example port=443 path=/api/*`.
[<RequireQualifiedAccess>]
module RuleText =

    let private host (name: string) (matcher: HostMatcher) =
        match matcher with
        | AnyHost -> []
        | ExactHost host -> [ $"{name}={host}" ]

    let private port (matcher: PortMatcher) =
        match matcher with
        | AnyPort -> []
        | ExactPort port -> [ $"port={port}" ]

    let private headers (kind: string) (matchers: HeaderMatcher array) =
        [
            for matcher in matchers -> $"{kind}:{matcher.Name}={Excerpt.ofText matcher.Value}"
        ]

    let private join (conditions: string list) =
        match conditions with
        | [] -> "any"
        | conditions -> String.concat " " conditions

    let private path (rule: PathRule) =
        match rule with
        | ExactPath path -> path
        | PathPrefix prefix -> prefix + "*"

    let httpRoute (route: HttpRoute) : string =
        join
            [
                yield! host "host" route.Host
                yield! port route.Port
                if route.Paths.Length > 0 then
                    "path=" + String.concat "," (Array.map path route.Paths)
                yield! headers "header" route.Headers
                match route.Mode with
                | Decoded.ProxyMode.ReverseProxy -> "mode=reverse"
                | Decoded.ProxyMode.ForwardProxy -> "mode=forward"
                | _ -> ()
            ]

    let grpcRoute (route: GrpcRoute) : string =
        join
            [
                match route.Service with
                | AnyService -> ()
                | ExactService name
                | ExactMethod name -> $"service={name}"
                | ServicePrefix prefix
                | MethodPrefix prefix -> $"service={prefix}*"
                yield! host "authority" route.Host
                yield! port route.Port
                yield! headers "metadata" route.Metadata
            ]

    let adhocRule (rule: AdhocRule) : string =
        join
            [
                match rule.Name with
                | ExactName name -> $"name={name}"
                | NameSuffix suffix -> $"name=*{suffix}"
                let ports =
                    [
                        for port in rule.AllowedPorts -> string port
                        for struct (first, last) in rule.AllowedRanges -> $"{first}-{last}"
                    ]

                if not ports.IsEmpty then
                    "ports=" + String.concat "," ports
            ]
