namespace Kedge.Domain

open System
open System.Buffers
open System.Net
open System.Runtime.InteropServices

/// The ports that a request's authority means. An authority without a port means both default ports, 80 and 443. Any
/// other authority means a single port, stored in both fields. See docs/matching.md.
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

    let private hexadecimalDigits = SearchValues.Create "0123456789ABCDEFabcdef"

    let private ipv6Characters = SearchValues.Create ".0123456789:ABCDEFabcdef"

    /// `a.example.` and `a.example` are the same host: one trailing dot, the DNS root, is dropped.
    let withoutTrailingDot (host: ReadOnlySpan<char>) : ReadOnlySpan<char> =
        if host.Length > 0 && host[host.Length - 1] = '.' then
            host.Slice(0, host.Length - 1)
        else
            host

    /// Labels of ASCII letters, digits, `-` and `_`, with single dots between them: what names, patterns and IPv4
    /// addresses consist of. Never allocates.
    let isLabels (text: ReadOnlySpan<char>) : bool =
        text.Length > 0
        && text.Length <= MaxLength
        && text[0] <> '.'
        && text[text.Length - 1] <> '.'
        && not (text.ContainsAnyExcept nameCharacters)
        && text.IndexOf("..".AsSpan()) < 0

    /// Whether the last label is a number, decimal or hexadecimal (`0x1f`). URL parsers and C libraries read such a
    /// host as an IPv4 address, however short it is (WHATWG URL, "ends in a number checker"). Never allocates.
    let endsInNumber (host: ReadOnlySpan<char>) : bool =
        let last = host.Slice(host.LastIndexOf '.' + 1)

        if last.Length >= 2 && last[0] = '0' && (last[1] = 'x' || last[1] = 'X') then
            not ((last.Slice 2).ContainsAnyExcept hexadecimalDigits)
        else
            last.Length > 0 && not (last.ContainsAnyExceptInRange('0', '9'))

    /// An IPv4 address in its canonical spelling: four decimal numbers up to 255, without leading zeros. Never
    /// allocates.
    let isIPv4 (host: ReadOnlySpan<char>) : bool =
        let mutable octets = 0
        let mutable sound = host.Length > 0
        let mutable rest = host

        while sound && rest.Length > 0 do
            let dot = rest.IndexOf '.'
            let octet = if dot < 0 then rest else rest.Slice(0, dot)
            let mutable value = 0

            for c in octet do
                value <-
                    if value >= 0 && value < 256 && Char.IsAsciiDigit c then
                        value * 10 + int c - int '0'
                    else
                        -1

            sound <-
                octet.Length > 0
                && value >= 0
                && value < 256
                && (octet.Length = 1 || octet[0] <> '0')

            octets <- octets + 1

            // An address must not end in a dot.
            if dot = rest.Length - 1 then
                sound <- false

            rest <- if dot < 0 then ReadOnlySpan.Empty else rest.Slice(dot + 1)

        sound && octets = 4

    /// A DNS name, or an IPv4 address in its canonical spelling: no other host may end in a number. Percent-encoded and
    /// non-ASCII names are rejected; an internationalised name is written in its `xn--` form. Never allocates.
    let isName (host: ReadOnlySpan<char>) : bool = isLabels host && (not (endsInNumber host) || isIPv4 host)

    /// An IPv6 address without brackets and without a zone, in any spelling. Never allocates.
    let isIPv6 (host: ReadOnlySpan<char>) : bool =
        host.Contains ':'
        && not (host.ContainsAnyExcept ipv6Characters)
        && IPAddress.IsValid host

    /// A name or an IPv6 address, as above. Never allocates.
    let isHost (host: ReadOnlySpan<char>) : bool = isName host || isIPv6 host

    /// The canonical spelling of an IPv6 address (RFC 5952). A mapped address (`::ffff:10.0.0.1`) becomes the IPv4
    /// address in it. Any other host is returned unchanged.
    let canonical (host: string) : string =
        if isIPv6 (host.AsSpan()) then
            let address = IPAddress.Parse host

            if address.IsIPv4MappedToIPv6 then
                address.MapToIPv4().ToString()
            else
                address.ToString()
        else
            host

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

    /// The authority with an IPv6 host in its canonical spelling (`HostName.canonical`); `text` itself when that
    /// changes nothing. `text` is the text that this authority was read from.
    member authority.Canonical(text: string) : string =
        if authority.HostStart = 0 then
            text
        else
            let host = text.Substring(authority.HostStart, authority.HostLength)
            let canonical = HostName.canonical host

            if canonical = host then
                text
            else
                let port = text.Substring(authority.HostStart + authority.HostLength + 1)

                if canonical.Contains ':' then
                    $"[{canonical}]{port}"
                else
                    canonical + port

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
    /// malformed: no host, a character that no host may contain, an empty label, more than 253 characters, an IPv6
    /// address with a zone or without brackets, an IPv4 address that is not four plain decimal numbers, a port that is
    /// not 1 to 65535. Stricter than the RFC in rejecting `host:` (a colon without a port) and ports with leading
    /// zeros, so that each authority has one spelling. Never allocates.
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
