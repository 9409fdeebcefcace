/// The ranges of IANA's special-purpose registries, each with what becomes of an ad-hoc name that leads there.
module Kedge.PropertyTests.AddressLaws

open System
open System.Net
open System.Numerics
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private verdict allowLoopback (address: IPAddress) =
    match AddressPolicy.refusal address allowLoopback with
    | null -> "permitted"
    | kind -> kind

let private numberOf (address: IPAddress) = BigInteger(ReadOnlySpan(address.GetAddressBytes()), true, true)

let private addressOf (bits: int) (number: BigInteger) =
    let octets: byte array = Array.zeroCreate (bits / 8)
    let digits = number.ToByteArray(true, true)
    digits.CopyTo(octets, octets.Length - digits.Length)
    IPAddress octets

/// The first and the last address of `prefix/length`.
let private ends (text: string) =
    let parts = text.Split '/'
    let prefix = IPAddress.Parse parts[0]
    let bits = prefix.GetAddressBytes().Length * 8
    let size = BigInteger.Pow(BigInteger 2, bits - int parts[1])
    bits, numberOf prefix, numberOf prefix + size - BigInteger.One

/// iana-ipv4-special-registry and iana-ipv6-special-registry as of 2025, with the verdicts on the first and the last
/// address.
let private registry =
    [
        "0.0.0.0/8", "unspecified"
        "0.0.0.0/32", "unspecified"
        "10.0.0.0/8", "permitted"
        "100.64.0.0/10", "permitted"
        "127.0.0.0/8", "loopback"
        "169.254.0.0/16", "link-local"
        "172.16.0.0/12", "permitted"
        "192.0.0.0/24", "reserved"
        "192.0.0.0/29", "reserved"
        "192.0.0.8/32", "reserved"
        "192.0.0.9/32", "reserved"
        "192.0.0.10/32", "reserved"
        "192.0.0.170/32", "reserved"
        "192.0.0.171/32", "reserved"
        "192.0.2.0/24", "permitted"
        "192.31.196.0/24", "permitted"
        "192.52.193.0/24", "permitted"
        "192.88.99.0/24", "reserved"
        "192.168.0.0/16", "permitted"
        "192.175.48.0/24", "permitted"
        "198.18.0.0/15", "permitted"
        "198.51.100.0/24", "permitted"
        "203.0.113.0/24", "permitted"
        "240.0.0.0/5", "reserved"
        "248.0.0.0/7", "reserved"
        "255.255.255.255/32", "broadcast"
        "224.0.0.0/4", "multicast"
        "100.100.100.200/32", "metadata"
        "168.63.129.16/32", "metadata"
        "::1/128", "loopback"
        "::/128", "unspecified"
        "::ffff:127.0.0.0/104", "loopback"
        "::ffff:10.0.0.0/104", "permitted"
        "::ffff:0:127.0.0.0/104", "translated"
        "::ffff:0:10.0.0.0/104", "translated"
        "64:ff9b::127.0.0.0/104", "loopback"
        "64:ff9b::10.0.0.0/104", "permitted"
        "64:ff9b:1::/48", "translated"
        "100::/64", "reserved"
        "100:0:0:1::/64", "reserved"
        "2001::/23", "reserved or tunnel"
        "2001::/32", "tunnel"
        "2001:1::1/128", "reserved"
        "2001:1::2/128", "reserved"
        "2001:1::3/128", "reserved"
        "2001:2::/48", "reserved"
        "2001:3::/32", "reserved"
        "2001:4:112::/48", "reserved"
        "2001:10::/28", "reserved"
        "2001:20::/28", "reserved"
        "2001:30::/28", "reserved"
        "2001:db8::/32", "permitted"
        "2002:7f00::/24", "loopback"
        "2002:a00::/24", "permitted"
        "2002:a9fe::/32", "link-local"
        "2620:4f:8000::/48", "permitted"
        "3fff::/20", "permitted"
        "5f00::/16", "reserved"
        "fc00::/7", "permitted"
        "fd00:ec2::/32", "metadata"
        "fd20:ce::254/128", "metadata"
        "fe80::/10", "link-local"
        "fec0::/10", "site-local"
        "ff00::/8", "multicast"
        // Not allocated, at both ends of what is.
        "1000::/4", "reserved"
        "4000::/3", "reserved"
        "e000::/4", "reserved"
        "f000::/5", "reserved"
        "fe00::/9", "reserved"
    ]

/// Any address, most of them near the border of a range.
let private addresses =
    let borders =
        AddressRanges.v4 @ AddressRanges.v6
        |> List.map (fun range ->
            let bits, first, last = ends (string range.Network)
            bits, first, last)

    gen {
        let! bits, first, last = Gen.elements borders
        let! near = Gen.choose (-2, 2)
        let! offset = Gen.elements [ first; last ]
        let! octets = Gen.arrayOfLength (bits / 8) (Gen.choose (0, 255))
        let limit = BigInteger.Pow(BigInteger 2, bits)
        let border = (offset + BigInteger near + limit) % limit
        let anywhere = BigInteger(ReadOnlySpan(Array.map byte octets), true, true)
        let size = last - first + BigInteger.One
        return! Gen.elements [ addressOf bits border; addressOf bits (first + anywhere % size) ]
    }

[<Tests>]
let tests =
    testList
        "addresses"
        [
            testTheory "a registered range has its verdict" registry
            <| fun (range, expected) ->
                let bits, first, last = ends range

                for number in [ first; last ] do
                    let address = addressOf bits number
                    let found = verdict false address
                    Expect.isTrue (expected.Split " or " |> Array.contains found) $"{address} is {found}"

                    let permitted = if found = "loopback" then "permitted" else found
                    Expect.equal (verdict true address) permitted $"{address} with loopback"

            Law.test
                "the smallest range that holds an address counts"
                10_000
                [ "in several ranges", 3000; "IPv4", 2000; "IPv6", 2000 ]
                (Arb.fromGen addresses)
                (fun seen address ->
                    let bits = address.GetAddressBytes().Length * 8
                    let number = numberOf address

                    let holding =
                        (if bits = 32 then AddressRanges.v4 else AddressRanges.v6)
                        |> List.filter (fun range ->
                            let _, first, last = ends (string range.Network)
                            first <= number && number <= last)

                    seen.Count(if bits = 32 then "IPv4" else "IPv6")
                    seen.When("in several ranges", holding.Length > 1)
                    let smallest = holding |> List.maxBy _.Network.PrefixLength
                    Expect.equal (AddressRanges.find address) smallest (string address))

            Law.test
                "an ISATAP address is refused under every prefix"
                2_000
                [ "permitted without it", 500 ]
                (Arb.fromGen (
                    Gen.zip (Gen.arrayOfLength 16 (Gen.choose (0, 255))) (Gen.elements [ 0uy; 1uy; 2uy; 3uy ])
                ))
                (fun seen (octets, flags) ->
                    let plain = Array.map byte octets
                    // A global or a unique local prefix.
                    plain[0] <- if plain[0] < 128uy then 0x26uy else 0xFCuy
                    plain[8] <- 0xFFuy
                    let isatap = Array.copy plain
                    [| flags; 0uy; 0x5Euy; 0xFEuy |].CopyTo(isatap, 8)
                    seen.When("permitted without it", (verdict false (IPAddress plain) = "permitted"))
                    Expect.equal (verdict true (IPAddress isatap)) "tunnel" (string (IPAddress isatap)))

            test "each range says what it is for, and lies in the one that holds everything" {
                for ranges in [ AddressRanges.v4; AddressRanges.v6 ] do
                    Expect.equal ranges.Head.Network.PrefixLength 0 "the first"

                    for range in ranges do
                        Expect.isNonEmpty range.Purpose (string range.Network)

                    Expect.equal (ranges |> List.distinctBy _.Network).Length ranges.Length "once each"
            }
        ]
