namespace Kedge.Domain

open System
open System.Net
open System.Net.Sockets

/// The addresses that an ad-hoc name may resolve to. Whoever controls the name's DNS chooses the address, so the proxy
/// must not become a way to its own host, to its link (cloud metadata services are at 169.254.169.254) or to a
/// multicast group. See docs/security.md.
[<RequireQualifiedAccess>]
module AddressPolicy =

    // RFC 5214, 6.1: under any prefix, the interface identifier 5efe:a.b.c.d means a tunnel to that IPv4 address.
    let private isIsatap (octets: byte array) =
        octets.Length = 16
        && octets[8] &&& 0xFCuy = 0uy
        && octets[9] = 0uy
        && octets[10] = 0x5Euy
        && octets[11] = 0xFEuy

    /// The IPv4 address that traffic to a mapped, NAT64 or 6to4 address reaches; any other address is returned
    /// unchanged.
    let destination (address: IPAddress) : IPAddress =
        match (AddressRanges.find address).Verdict with
        | LeadsToIPv4 octet -> IPAddress(ReadOnlySpan(address.GetAddressBytes(), octet, 4))
        | _ -> address

    /// The kind of the address, in one word, when it is refused; null when traffic may go there. `allowLoopback`
    /// permits loopback (127.0.0.0/8, ::1) and nothing else.
    let refusal (address: IPAddress) (allowLoopback: bool) : string | null =
        match (AddressRanges.find (destination address)).Verdict with
        | Refused kind -> kind
        | Loopback -> if allowLoopback then null else "loopback"
        | Permitted
        | LeadsToIPv4 _ ->
            if
                address.AddressFamily = AddressFamily.InterNetworkV6
                && isIsatap (address.GetAddressBytes())
            then
                "tunnel"
            else
                null
