namespace Kedge.Domain

open System
open System.Net
open System.Net.Sockets

/// The addresses that an ad-hoc name may resolve to. Whoever controls the name's DNS chooses the address, so the proxy
/// must not become a way to its own host, to its link (cloud metadata services are at 169.254.169.254) or to a
/// multicast group. See docs/security.md.
[<RequireQualifiedAccess>]
module AddressPolicy =

    let private refusalV4 (address: ReadOnlySpan<byte>) (allowLoopback: bool) : string | null =
        match address[0] with
        | 127uy -> if allowLoopback then null else "loopback"
        // RFC 1122, 3.2.1.3: "this host on this network"; connecting to 0.0.0.0 reaches the host itself.
        | 0uy -> "unspecified"
        | 169uy when address[1] = 254uy -> "link-local"
        | first when first >= 224uy && first < 240uy -> "multicast"
        | 255uy when address[1] = 255uy && address[2] = 255uy && address[3] = 255uy -> "broadcast"
        | _ -> null

    let private isZero (octets: ReadOnlySpan<byte>) = not (octets.ContainsAnyExcept 0uy)

    /// The position in an IPv6 address of the IPv4 address that it leads to, or -1: mapped (`::ffff:a.b.c.d`),
    /// compatible (`::a.b.c.d`), NAT64 (`64:ff9b::a.b.c.d`, RFC 6052) and 6to4 (`2002:aabb:ccdd::`, RFC 3056).
    let private embeddedV4At (address: ReadOnlySpan<byte>) =
        if address[0] = 0x20uy && address[1] = 0x02uy then
            2
        elif isZero (address.Slice(0, 10)) && address[10] = 0xFFuy && address[11] = 0xFFuy then
            12
        elif isZero (address.Slice(0, 12)) then
            12
        elif
            isZero (address.Slice(4, 8))
            && address[0] = 0uy
            && address[1] = 0x64uy
            && address[2] = 0xFFuy
            && address[3] = 0x9Buy
        then
            12
        else
            -1

    let private refusalV6 (address: ReadOnlySpan<byte>) (allowLoopback: bool) : string | null =
        let embedded = embeddedV4At address

        if isZero (address.Slice(0, 15)) && address[15] <= 1uy then
            if address[15] = 0uy then "unspecified"
            elif allowLoopback then null
            else "loopback"
        elif embedded >= 0 then
            refusalV4 (address.Slice(embedded, 4)) allowLoopback
        elif address[0] = 0xFFuy then
            "multicast"
        elif address[0] = 0xFEuy && address[1] &&& 0xC0uy = 0x80uy then
            "link-local"
        else
            null

    /// The kind of the address, in one word, when it is refused; null when traffic may go there. `allowLoopback`
    /// permits loopback (127.0.0.0/8, ::1) and nothing else. An IPv6 address that leads to an IPv4 one is judged by the
    /// latter.
    let refusal (address: IPAddress) (allowLoopback: bool) : string | null =
        let octets = ReadOnlySpan(address.GetAddressBytes())

        if address.AddressFamily = AddressFamily.InterNetwork then
            refusalV4 octets allowLoopback
        else
            refusalV6 octets allowLoopback
