/// Sets of addresses, and the walk from proxy to proxy that finds the caller's address.
module Kedge.PropertyTests.NetworkLaws

open System
open System.Net
open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain

let private parse (text: string) =
    match AddressSet.TryParse text with
    | Ok set -> set
    | Error rule -> failtest $"{text}: {rule}"

let private network =
    gen {
        let! isV4 = Gen.elements [ true; true; false ]
        let bits = if isV4 then 32 else 128

        let! octets =
            Gen.arrayOfLength (bits / 8) (Gen.elements [ 0uy; 1uy; 10uy; 127uy; 128uy; 255uy ])

        let! prefix = Gen.choose (0, bits)

        for i in 0 .. bits - 1 do
            if i >= prefix then
                octets[i / 8] <- octets[i / 8] &&& ~~~(0x80uy >>> (i % 8))

        return IPNetwork(IPAddress octets, prefix)
    }

/// The oracle: the base library, whose networks of IPv6 do not hold mapped addresses either.
let private holds (networks: IPNetwork list) (address: IPAddress) =
    networks
    |> List.exists (fun network ->
        network.BaseAddress.AddressFamily = address.AddressFamily
        && network.Contains address)

/// Addresses at the edges of networks are among them.
let private addressFor (networks: IPNetwork list) =
    gen {
        let! any = Gen.arrayOfLength 16 (Gen.elements [ 0uy; 1uy; 255uy ])
        let! v4 = Gen.arrayOfLength 4 (Gen.elements [ 0uy; 1uy; 10uy; 127uy; 128uy; 255uy ])

        let edges =
            [
                for network in networks do
                    let octets = network.BaseAddress.GetAddressBytes()
                    network.BaseAddress
                    let last = Array.copy octets

                    for i in network.PrefixLength .. 8 * last.Length - 1 do
                        last[i / 8] <- last[i / 8] ||| (0x80uy >>> (i % 8))

                    IPAddress last
            ]

        return! Gen.elements ([ IPAddress any; IPAddress v4 ] @ edges @ edges)
    }

let private case =
    gen {
        let! allowed =
            Gen.choose (0, 3) |> Gen.bind (fun count -> Gen.listOfLength count network)

        let! denied =
            Gen.choose (0, 3) |> Gen.bind (fun count -> Gen.listOfLength count network)

        let! address = addressFor (allowed @ denied)
        return allowed, denied, address
    }

let private setOf (networks: IPNetwork list) = networks |> List.map (string >> parse) |> AddressSet.Union

[<Tests>]
let tests =
    testList
        "networks"
        [
            Law.test
                "a set holds what one of its networks holds, and what is taken out of it is out"
                2_000
                [ "in", 200; "out", 200; "taken out", 50; "IPv6", 200 ]
                (Arb.fromGen case)
                (fun seen (allowed, denied, address) ->
                    let address = ClientAddress.unmapped address
                    let isAllowed, isDenied = holds allowed address, holds denied address
                    seen.When("in", isAllowed && not isDenied)
                    seen.When("out", not isAllowed)
                    seen.When("taken out", isAllowed && isDenied)
                    seen.When("IPv6", address.GetAddressBytes().Length = 16)
                    Expect.equal ((setOf allowed).Contains address) isAllowed "union"

                    Expect.equal
                        (((setOf allowed).Except(setOf denied)).Contains address)
                        (isAllowed && not isDenied)
                        "difference"

                    Expect.equal
                        ((AddressSet.All.Except(setOf denied)).Contains(address.MapToIPv6()))
                        (not isDenied)
                        "a mapped address is the IPv4 address in it")

            Law.test
                "a set without addresses is the empty one, and the lowest address of another is in it"
                1_000
                [ "empty", 50; "not empty", 200 ]
                (Arb.fromGen case)
                (fun seen (allowed, denied, _) ->
                    let rest = (setOf allowed).Except(setOf denied)
                    seen.When("empty", rest.IsEmpty)
                    seen.When("not empty", not rest.IsEmpty)

                    match rest.Lowest with
                    | Some address ->
                        Expect.isTrue (holds allowed address && not (holds denied address)) "in it"
                        Expect.isFalse rest.IsEmpty "not empty"
                    | None -> Expect.equal rest AddressSet.Empty "empty")

            Law.test
                "sets with the same addresses are equal"
                500
                [ "several", 100 ]
                (Arb.fromGen case)
                (fun seen (allowed, denied, _) ->
                    let a, b = setOf allowed, setOf denied
                    seen.When("several", allowed.Length > 1)
                    Expect.equal (AddressSet.Union [ a; b ]) (AddressSet.Union [ b; a; a ]) "any order"
                    Expect.equal (AddressSet.Union [ a.Except b; b ]) (AddressSet.Union [ a; b ]) "back in"
                    Expect.equal (AddressSet.All.Except(AddressSet.All.Except a)) a "twice out")

            testCase "a network is written with its own address, or is one address" (fun () ->
                for text, right in
                    [
                        "10.1.2.3/8", "10.0.0.0/8"
                        "2001:db8::1/32", "2001:db8::/32"
                        "::ffff:10.1.2.3/104", "::ffff:10.0.0.0/104"
                    ] do
                    match AddressSet.TryParse text with
                    | Error rule -> Expect.stringContains rule right text
                    | Ok _ -> failtest text

                for text in
                    [
                        ""
                        "x"
                        "10.0.0.0/33"
                        "::/129"
                        "10.0.0.0/"
                        "10.0.0.0/-1"
                        "10.1"
                        "010.0.0.1"
                        "fe80::1%1"
                        "[::1]"
                        "10.0.0.0/8/8"
                        "10.0.0.0/ 8"
                    ] do
                    Expect.isError (AddressSet.TryParse text) text

                Expect.equal (parse "10.0.0.0/8") (parse "::ffff:10.0.0.0/104") "mapped"
                Expect.isFalse ((parse "::/0").Contains(IPAddress.Parse "10.0.0.1")) "IPv6 alone"
                Expect.equal (AddressSet.Union [ parse "::/0"; parse "0.0.0.0/0" ]) AddressSet.All "both")

            Law.test
                "the caller is the last address that no trusted proxy has, unless the peer is not one"
                1_000
                [ "peer", 100; "an entry", 100; "cut", 50 ]
                (Arb.fromGen (
                    Gen.zip
                        (Gen.elements [ "10.0.0.1"; "192.0.2.1"; "::ffff:10.0.0.9" ])
                        (Gen.choose (0, 4)
                         |> Gen.bind (fun count ->
                             Gen.arrayOfLength
                                 count
                                 (Gen.elements
                                     [ "10.0.0.2"; "203.0.113.7"; "unknown"; "::ffff:10.0.0.3"; "2001:db8::1" ])))
                ))
                (fun seen (peer, entries) ->
                    let isTrusted (address: IPAddress) = address.GetAddressBytes()[0] = 10uy

                    let client =
                        ClientAddress.walk (Func<_, _> isTrusted) (IPAddress.Parse peer) entries

                    // From the caller on, in the order of the way: all behind the caller are trusted.
                    let way = Array.append entries [| peer |]

                    let place =
                        way
                        |> Array.tryFindIndexBack (fun entry ->
                            match IPAddress.TryParse entry with
                            | true, address -> not (isTrusted (ClientAddress.unmapped (Unchecked.nonNull address)))
                            | _ -> true)

                    let expected =
                        match place with
                        | None -> way[0]
                        | Some index when way[index] = "unknown" -> way[index + 1]
                        | Some index -> way[index]

                    seen.When("peer", (place = Some entries.Length))
                    seen.When("an entry", place |> Option.exists (fun p -> p < entries.Length))
                    seen.When("cut", place |> Option.exists (fun p -> way[p] = "unknown"))
                    Expect.equal client (ClientAddress.unmapped (IPAddress.Parse expected)) "client")
        ]
