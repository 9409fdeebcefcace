namespace Kedge.Domain

open System
open System.Buffers
open System.Net
open System.Runtime.InteropServices

/// The ports that a request's authority means. An authority without a port means both default ports, 80 and 443. Any
/// other one means a single port, which is then in both fields. See docs/matching.md.
[<Struct>]
type AuthorityPorts =
    {
        First: uint16
        Second: uint16
    }

    /// The ports of an authority without a port.
    static member Unspecified = { First = 80us; Second = 443us }
    static member Of(port: uint16) = { First = port; Second = port }

    /// The single port that the authority means; 0 when it has none.
    member ports.Explicit = if ports.First = ports.Second then ports.First else 0us
    member ports.Includes(port: uint16) = port = ports.First || port = ports.Second

    /// For people: `8443`, or `80 or 443 (none given)`.
    member ports.Text =
        if ports.Explicit = 0us then
            "80 or 443 (none given)"
        else
            string ports.Explicit

/// The texts that can name a host.
[<RequireQualifiedAccess>]
module HostName =

    /// The longest name that DNS can carry, in characters and without a trailing dot.
    [<Literal>]
    let MaxLength = 253

    let private nameCharacters =
        SearchValues.Create "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

    let private ipv6Characters = SearchValues.Create ".0123456789:ABCDEFabcdef"

    /// `a.example.` and `a.example` are the same host: one trailing dot, that of the DNS root, is dropped.
    let withoutTrailingDot (host: ReadOnlySpan<char>) : ReadOnlySpan<char> =
        if host.Length > 0 && host[host.Length - 1] = '.' then
            host.Slice(0, host.Length - 1)
        else
            host

    /// A DNS name or IPv4 address: ASCII letters, digits, `-`, `_`, and single dots between them. Percent-encoded and
    /// non-ASCII names are rejected; an internationalised name is written in its `xn--` form. Never allocates.
    let isName (host: ReadOnlySpan<char>) : bool =
        host.Length > 0
        && host.Length <= MaxLength
        && host[0] <> '.'
        && host[host.Length - 1] <> '.'
        && not (host.ContainsAnyExcept nameCharacters)
        && host.IndexOf("..".AsSpan()) < 0

    /// An IPv6 address without brackets and without a zone. Never allocates.
    let isIPv6 (host: ReadOnlySpan<char>) : bool =
        host.Contains ':'
        && not (host.ContainsAnyExcept ipv6Characters)
        && IPAddress.IsValid host

    /// A name or an IPv6 address, as above. Never allocates.
    let isHost (host: ReadOnlySpan<char>) : bool = isName host || isIPv6 host

/// The parts of a request's authority, as positions in the text that it was read from.
[<Struct>]
type Authority =
    {
        /// Where the host starts, after any `[`.
        HostStart: int
        /// Without brackets and without one trailing dot.
        HostLength: int
        /// -1 when there is none.
        Port: int
    }

    /// The ports that the authority of a `Host` or `:authority` header means: without a port, both default ports.
    member authority.Ports =
        if authority.Port < 0 then
            AuthorityPorts.Unspecified
        else
            AuthorityPorts.Of(uint16 authority.Port)

    /// 1 to 65535 in decimal digits without a leading zero, or -1.
    static member private ParsePort(text: ReadOnlySpan<char>) : int =
        if text.Length = 0 || text.Length > 5 || text[0] = '0' then
            -1
        else
            let mutable port = 0

            for c in text do
                port <-
                    if port >= 0 && Char.IsAsciiDigit c then
                        port * 10 + int c - int '0'
                    else
                        -1

            if port <= 65535 then port else -1

    /// Reads `host`, `host:port`, `[v6]` and `[v6]:port` (RFC 3986, 3.2.2 and 3.2.3, without userinfo). False when
    /// malformed: no host, a character that no host has, an empty label, more than 253 characters, an IPv6 address with
    /// a zone or without brackets, a port that is not 1 to 65535. Stricter than the RFC in rejecting `host:` (a colon
    /// without a port) and ports with leading zeros, so that each authority has one spelling. Never allocates.
    static member TryParse(text: ReadOnlySpan<char>, [<Out>] authority: byref<Authority>) : bool =
        authority <-
            {
                HostStart = 0
                HostLength = 0
                Port = -1
            }

        let bracketed = text.Length > 0 && text[0] = '['
        let hostStart = if bracketed then 1 else 0
        let hostEnd = if bracketed then text.IndexOf ']' else text.IndexOf ':'

        let hostEnd =
            if hostEnd < 0 && not bracketed then
                text.Length
            else
                hostEnd

        if hostEnd < hostStart then
            false
        else
            let host = text.Slice(hostStart, hostEnd - hostStart)
            let host = if bracketed then host else HostName.withoutTrailingDot host
            let rest = text.Slice(if bracketed then hostEnd + 1 else hostEnd)

            let port =
                if rest.Length > 0 && rest[0] = ':' then
                    Authority.ParsePort(rest.Slice 1)
                else
                    -1

            let sound =
                (if bracketed then
                     HostName.isIPv6 host
                 else
                     HostName.isName host)
                && (rest.Length = 0 || port > 0)

            if sound then
                authority <-
                    {
                        HostStart = hostStart
                        HostLength = host.Length
                        Port = port
                    }

            sound
