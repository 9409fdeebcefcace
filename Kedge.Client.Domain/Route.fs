namespace Kedge.Client.Domain

open System
open Kedge.Domain
open Kedge.Client.Domain.Decoded

/// Which hosts a route matches, and how it finds their kedge.
[<RequireQualifiedAccess>]
type RouteRule =
    /// One host, or one host and port.
    | Direct of key: string * kedge: KedgeAddress
    | Regexp of pattern: Pattern * template: Template * guard: HostGuard
    | Suffix of SuffixRule
    /// Every host.
    | Single of KedgeAddress

/// A route of the mapper file, ready to use.
[<Sealed>]
type Route internal (index: int, rule: RouteRule, decoded: RouteEntry) =

    let none =
        {
            CaFiles = []
            ClientCertFile = ""
            ClientKeyFile = ""
            ServerName = ""
            Insecure = false
        }

    /// Its place in the file, from 0.
    member _.Index = index

    member _.Rule = rule

    /// The names of its auth sources; empty = none.
    member _.BackendAuth = decoded.BackendAuth

    member _.ProxyAuth = decoded.ProxyAuth
    member _.Tls = defaultArg decoded.Tls none
    /// The time limit until the kedge's response begins; zero = no limit.
    member _.Timeout = decoded.Timeout

    member _.Headers: Collections.Generic.IReadOnlyDictionary<string, string> =
        decoded.Headers

    /// Whether requests that a browser sends for a page of another site are rejected.
    member _.RequiresSameSite =
        defaultArg decoded.RequireSameSite (decoded.BackendAuth <> "")

    /// Whether TLS connections reach the kedge through a CONNECT tunnel.
    member _.TakesConnect = decoded.Connect = ConnectPolicy.Passthrough

    member _.Takes(protocol: Protocol) =
        match decoded.Protocol, protocol with
        | RouteProtocol.Http, Protocol.Http
        | RouteProtocol.Grpc, Protocol.Grpc
        | RouteProtocol.Any, _ -> true
        | _ -> false

    /// Whether the rule matches this host, whatever the protocol.
    member _.Matches(target: Target) : bool =
        match rule with
        | RouteRule.Direct(key, _) -> key = target.Host || key = target.Authority
        | RouteRule.Regexp(pattern, _, _) -> pattern.IsMatch target.Host || pattern.IsMatch target.Authority
        | RouteRule.Suffix suffix -> suffix.IsMatch target.Host
        | RouteRule.Single _ -> true

    /// The kedge for a host that matches, or why there is none.
    member _.KedgeFor(target: Target) : Result<KedgeAddress, string> =
        match rule with
        | RouteRule.Direct(_, kedge)
        | RouteRule.Single kedge -> Ok kedge
        | RouteRule.Suffix suffix -> suffix.Fill target.Host
        | RouteRule.Regexp(pattern, template, guard) ->
            let values =
                match pattern.TryMatch target.Host with
                | ValueSome values -> ValueSome values
                | ValueNone -> pattern.TryMatch target.Authority

            match values with
            | ValueSome values -> template.Fill(guard, values)
            | ValueNone -> Error "the pattern does not match"

    /// The rule on one line: `direct a.example`, `regexp ^…$`.
    member _.Text =
        match rule with
        | RouteRule.Direct(key, _) -> "direct " + key
        | RouteRule.Regexp(pattern, _, _) -> "regexp " + pattern.Text
        | RouteRule.Suffix suffix -> "suffix " + suffix.Pattern
        | RouteRule.Single _ -> "single"

    /// Where it leads, as written in the file: a URL, optionally with groups.
    member _.Destination =
        match rule with
        | RouteRule.Direct(_, kedge)
        | RouteRule.Single kedge -> kedge.Url
        | RouteRule.Regexp(_, template, _) -> template.Text
        | RouteRule.Suffix suffix -> KedgeAddress(suffix.IsTls, "*" + suffix.Suffix, suffix.Port).Url

    override route.ToString() = $"routes[{index}] ({route.Text})"
