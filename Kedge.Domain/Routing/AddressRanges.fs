namespace Kedge.Domain

open System
open System.Net

/// Whether an ad-hoc name may resolve to an address.
type AddressVerdict =
    | Permitted
    /// Why it may not, in one word that fits into "a … address".
    | Refused of kind: string
    /// The host itself: permitted with `--adhoc_allow_loopback` only.
    | Loopback
    /// An IPv6 address that contains an IPv4 address from this octet on. Traffic reaches the IPv4 address, so that one
    /// is judged.
    | LeadsToIPv4 of octet: int

/// A range of addresses with one verdict.
type AddressRange =
    {
        Network: IPNetwork
        /// What the range is for, and which document says so.
        Purpose: string
        Verdict: AddressVerdict
    }

/// The special-purpose ranges of IANA's registries (iana-ipv4-special-registry, iana-ipv6-special-registry, RFC 6890),
/// the multicast ranges, and the metadata services of clouds outside 169.254.0.0/16. The smallest range that contains
/// an address applies. Addresses that lead to this host, to its link, or through a translator or tunnel to an unchecked
/// address are refused, and so are unallocated ones; ranges that networks use internally (private, shared,
/// benchmarking, documentation) are permitted. A range without a row shares the verdict of the range around it.
[<RequireQualifiedAccess>]
module AddressRanges =

    let private range (network: string) (verdict: AddressVerdict) (purpose: string) =
        {
            Network = IPNetwork.Parse network
            Purpose = purpose
            Verdict = verdict
        }

    let private reserved = Refused "reserved"

    /// Larger ranges come first.
    let v4: AddressRange list =
        [
            range "0.0.0.0/0" Permitted "everything else"
            range "0.0.0.0/8" (Refused "unspecified") "this network (RFC 791): connecting to 0.0.0.0 reaches the host"
            range "10.0.0.0/8" Permitted "private use (RFC 1918)"
            range "100.64.0.0/10" Permitted "shared address space (RFC 6598), which clusters use for pods"
            range "100.100.100.200/32" (Refused "metadata") "metadata service of Alibaba Cloud"
            range "127.0.0.0/8" Loopback "loopback (RFC 1122)"
            range "168.63.129.16/32" (Refused "metadata") "host agent of Azure"
            range "169.254.0.0/16" (Refused "link-local") "link local (RFC 3927), with most metadata services"
            range "172.16.0.0/12" Permitted "private use (RFC 1918)"
            range "192.0.0.0/24" reserved "IETF protocol assignments (RFC 6890)"
            range "192.0.2.0/24" Permitted "documentation (RFC 5737)"
            range "192.31.196.0/24" Permitted "AS112 (RFC 7535), globally reachable"
            range "192.52.193.0/24" Permitted "AMT (RFC 7450), globally reachable"
            range "192.88.99.0/24" reserved "6to4 relays (RFC 7526), deprecated"
            range "192.168.0.0/16" Permitted "private use (RFC 1918)"
            range "192.175.48.0/24" Permitted "AS112 (RFC 7534), globally reachable"
            range "198.18.0.0/15" Permitted "benchmarking (RFC 2544)"
            range "198.51.100.0/24" Permitted "documentation (RFC 5737)"
            range "203.0.113.0/24" Permitted "documentation (RFC 5737)"
            range "224.0.0.0/4" (Refused "multicast") "multicast (RFC 5771)"
            range "240.0.0.0/4" reserved "reserved (RFC 1112)"
            range "255.255.255.255/32" (Refused "broadcast") "limited broadcast (RFC 919)"
        ]

    /// Larger ranges come first.
    let v6: AddressRange list =
        [
            range "::/0" reserved "not allocated"
            range "::/96" (LeadsToIPv4 12) "IPv4-compatible (RFC 4291), deprecated"
            range "::/128" (Refused "unspecified") "unspecified (RFC 4291)"
            range "::1/128" Loopback "loopback (RFC 4291)"
            range "::ffff:0:0/96" (LeadsToIPv4 12) "IPv4-mapped (RFC 4291)"
            range "::ffff:0:0:0/96" (Refused "translated") "IPv4-translated (RFC 2765)"
            range "64:ff9b::/96" (LeadsToIPv4 12) "NAT64, well-known prefix (RFC 6052)"
            range "64:ff9b:1::/48" (Refused "translated") "NAT64, local use (RFC 8215)"
            range "100::/64" reserved "discard only (RFC 6666)"
            range "100:0:0:1::/64" reserved "dummy prefix (RFC 9780)"
            range "2000::/3" Permitted "global unicast (RFC 4291)"
            range "2001::/23" reserved "IETF protocol assignments (RFC 2928)"
            range "2001::/32" (Refused "tunnel") "Teredo (RFC 4380)"
            range "2001:db8::/32" Permitted "documentation (RFC 3849)"
            range "2002::/16" (LeadsToIPv4 2) "6to4 (RFC 3056)"
            range "2620:4f:8000::/48" Permitted "AS112 (RFC 7534), globally reachable"
            range "3fff::/20" Permitted "documentation (RFC 9637)"
            range "5f00::/16" reserved "segment routing identifiers (RFC 9602)"
            range "fc00::/7" Permitted "unique local (RFC 4193)"
            range "fd00:ec2::/32" (Refused "metadata") "metadata and other local services of AWS"
            range "fd20:ce::254/128" (Refused "metadata") "metadata service of Google Cloud"
            range "fe80::/10" (Refused "link-local") "link local (RFC 4291)"
            range "fec0::/10" (Refused "site-local") "site local (RFC 3879), deprecated"
            range "ff00::/8" (Refused "multicast") "multicast (RFC 4291)"
        ]

    let private smallestFirst (ranges: AddressRange list) =
        ranges |> List.sortByDescending _.Network.PrefixLength |> Array.ofList

    let private orderedV4 = smallestFirst v4
    let private orderedV6 = smallestFirst v6

    // The base library finds an IPv4-mapped address in no IPv6 range except the whole.
    let private holds (octets: byte array) (range: AddressRange) =
        let prefix = range.Network.BaseAddress.GetAddressBytes()
        let length = range.Network.PrefixLength
        let whole = length / 8
        let rest = length % 8

        octets.AsSpan(0, whole).SequenceEqual(prefix.AsSpan(0, whole))
        && (rest = 0 || (octets[whole] ^^^ prefix[whole]) >>> (8 - rest) = 0uy)

    /// The range that applies to an address.
    let find (address: IPAddress) : AddressRange =
        let octets = address.GetAddressBytes()
        let ranges = if octets.Length = 4 then orderedV4 else orderedV6
        ranges |> Array.find (holds octets)
