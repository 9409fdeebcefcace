namespace Kedge.Domain

/// Which ports of a request's authority a route takes.
[<Struct>]
type PortMatcher =
    | AnyPort
    /// 1 to 65535.
    | ExactPort of port: uint16

    member matcher.Holds(ports: AuthorityPorts) : bool =
        match matcher with
        | AnyPort -> true
        | ExactPort expected -> ports.Includes expected
