namespace Kedge.Domain

/// The ports that a request's authority stands for. An authority without a port stands for both default ports, 80 and
/// 443; every other one for a single port, which is then in both fields. SPEC section 3.
[<Struct>]
type AuthorityPorts =
    {
        First: uint16
        Second: uint16
    }

    /// No port in the authority.
    static member Unspecified = { First = 80us; Second = 443us }
    static member Of(port: uint16) = { First = port; Second = port }

    /// The one port that is meant; 0 when none was given.
    member ports.Explicit = if ports.First = ports.Second then ports.First else 0us
    member ports.Includes(port: uint16) = port = ports.First || port = ports.Second

/// A request's authority in parts, as places in the text that it was read from.
[<Struct>]
type Authority =
    {
        /// Where the host starts, behind a `[`.
        HostStart: int
        /// Without brackets and without one trailing dot.
        HostLength: int
        /// -1 when there is none.
        Port: int
    }

    /// Reads `host`, `host:port`, `[v6]` and `[v6]:port` (RFC 3986, 3.2.2 and 3.2.3, without userinfo). False when
    /// malformed: no host, a character that no host has, a port that is not 1 to 65535. Never allocates.
    static member TryParse(text: System.ReadOnlySpan<char>, authority: byref<Authority>) : bool = failwith "contract"
