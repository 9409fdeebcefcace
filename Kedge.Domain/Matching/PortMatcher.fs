namespace Kedge.Domain

/// The ports of a request's authority that a route matches.
[<Struct>]
type PortMatcher =
    | AnyPort
    /// 1 to 65535.
    | ExactPort of port: uint16

    member matcher.Holds(ports: AuthorityPorts) : bool =
        match matcher with
        | AnyPort -> true
        | ExactPort expected -> ports.Includes expected

    member matcher.Text =
        match matcher with
        | AnyPort -> "any"
        | ExactPort port -> string port

    /// Why the ports do not match; none when they do.
    member matcher.Mismatch(ports: AuthorityPorts) : Mismatch voption =
        Mismatch.unless (matcher.Holds ports) "port" matcher.Text ports.Text

[<RequireQualifiedAccess>]
module PortMatcher =

    /// Reads `port_matcher`; 0 = any. The error is the rule that the number breaks.
    let tryParse (port: uint32) : Result<PortMatcher, string> =
        if port = 0u then Ok AnyPort
        elif port <= 65535u then Ok(ExactPort(uint16 port))
        else Error "a port from 1 to 65535, or 0 for any"
