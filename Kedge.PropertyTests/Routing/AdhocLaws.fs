module Kedge.PropertyTests.AdhocLaws

open System
open System.Net
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private names =
    [
        "a.pod.cluster.local"
        "b.cluster1.example.com"
        "cluster1.example.com"
        "x.example"
    ]

let private matchers =
    [
        "*.pod.cluster.local"
        "*"
        "*.cluster1.example.com"
        "x.example"
        "*example.com"
        "a.pod.cluster.local"
    ]

let private matcher text =
    match DnsNameMatcher.tryParse text with
    | Ok matcher -> matcher
    | Error rule -> failtestf "%s: %s" text rule

let private rule =
    gen {
        let! name = Gen.elements matchers
        let! defaultPort = Gen.elements [ 0us; 80us; 9090us ]
        let! allowed = Gen.subListOf [ 80us; 443us; 9090us ]
        let! first = Gen.choose (1, 300)
        let! length = Gen.choose (0, 300)

        let! ranges =
            Gen.elements [ [||]; [| struct (uint16 first, uint16 (first + length)) |] ]

        let! replace =
            Gen.elements
                [
                    None
                    Some("cluster1.example.com", "cluster.local")
                    Some("CLUSTER", "k")
                    Some("e", "")
                    Some("x.example", "")
                    Some("x.example", "a b")
                ]

        return
            {
                Name = matcher name
                DefaultPort = defaultPort
                AllowedPorts = Array.ofList allowed
                AllowedRanges = ranges
                Replace =
                    replace
                    |> Option.map (fun (pattern, substitution) ->
                        {
                            Pattern = pattern
                            Substitution = substitution
                        })
                Authorization = None
            }
    }

let private cases =
    gen {
        let! count = Gen.choose (0, 4)
        let! rules = Gen.listOfLength count rule
        let! name = Gen.elements names
        let! host = Generators.requestHost name

        let! ports =
            Gen.frequency
                [
                    (1, Gen.constant AuthorityPorts.Unspecified)
                    (2, Gen.choose (1, 500) |> Gen.map (uint16 >> AuthorityPorts.Of))
                    (2, Gen.elements [ 80us; 443us; 9090us ] |> Gen.map AuthorityPorts.Of)
                ]

        return rules, host, ports
    }

let private arbitrary =
    Arb.fromGenShrink (
        cases,
        fun (rules, host, ports) ->
            seq {
                for index in 0 .. rules.Length - 1 do
                    List.removeAt index rules, host, ports

                for name in names do
                    if name.Length < host.Length then
                        rules, name, ports
            }
    )

/// The ad-hoc rules of docs/matching.md, written plainly over lists.
let private oracle (rules: AdhocRule list) (host: string) (ports: AuthorityPorts) =
    let lower (text: string) =
        String.map
            (fun c ->
                if Char.IsAsciiLetterUpper c then
                    Char.ToLowerInvariant c
                else
                    c)
            text

    let name =
        lower (
            if host.EndsWith '.' then
                host.Substring(0, host.Length - 1)
            else
                host
        )

    let takes (rule: AdhocRule) =
        match rule.Name with
        | ExactName expected -> name = expected
        | NameSuffix suffix -> name <> "" && name.EndsWith(suffix, StringComparison.Ordinal)

    match rules |> List.indexed |> List.filter (snd >> takes) with
    | [] -> NoRule
    | (index, rule) :: _ ->
        let port =
            match ports.First = ports.Second, rule.DefaultPort with
            | true, _ -> ports.First
            | false, 0us -> 80us
            | false, port -> port

        let inRange =
            rule.AllowedRanges
            |> Array.exists (fun (struct (first, last)) -> Seq.contains port (seq { first..last }))

        if not (inRange || Seq.contains port rule.AllowedPorts) then
            PortNotAllowed(index, port)
        else
            let target (name: string) =
                let isLetter c = Char.IsAsciiLetterOrDigit c || c = '-' || c = '_'
                let labels = name.Split '.'

                let sound =
                    name.Length <= 253
                    && labels |> Array.forall (fun label -> label <> "" && Seq.forall isLetter label)

                if sound then
                    Target(index, name, port)
                else
                    NotAName(index, name)

            match rule.Replace with
            | None -> target name
            | Some replace when not (name.Contains(lower replace.Pattern)) -> PatternAbsent(index, replace.Pattern)
            | Some replace ->
                let replaced = String.Join(replace.Substitution, name.Split(lower replace.Pattern))

                target (
                    if replaced.EndsWith '.' then
                        replaced.Substring(0, replaced.Length - 1)
                    else
                        replaced
                )

let private refusal (address: string) allowLoopback =
    match AddressPolicy.refusal (IPAddress.Parse address) allowLoopback with
    | null -> "permitted"
    | kind -> kind

[<Tests>]
let tests =
    testList
        "ad-hoc rules"
        [
            Law.test
                "the first rule whose name matches decides"
                10_000
                [
                    for kind in [ "no rule"; "port not allowed"; "pattern absent"; "not a name"; "target" ] -> kind, 50
                ]
                arbitrary
                (fun seen (rules, host, ports) ->
                    let actual = Adhoc.decide (Array.ofList rules) host ports

                    // The oracle's plain lower case does not cover names that DNS cannot carry.
                    if Seq.forall Char.IsAscii host then
                        let expected = oracle rules host ports

                        seen.Count(
                            match expected with
                            | NoRule -> "no rule"
                            | PortNotAllowed _ -> "port not allowed"
                            | PatternAbsent _ -> "pattern absent"
                            | NotAName _ -> "not a name"
                            | Target _ -> "target"
                        )

                        Expect.equal actual expected "the decision")

            Law.test
                "a mapped, compatible, NAT64 or 6to4 address is judged by the IPv4 address in it"
                5_000
                [ "permitted", 1000; "refused", 1000 ]
                (Arb.fromGen (
                    Gen.map2
                        (fun first rest -> Array.append [| byte first |] (Array.map byte rest))
                        (Gen.frequency [ (1, Gen.elements [ 0; 127; 169; 224; 239; 255 ]); (1, Gen.choose (0, 255)) ])
                        (Gen.arrayOfLength
                            3
                            (Gen.frequency [ (1, Gen.elements [ 0; 254; 255 ]); (2, Gen.choose (0, 255)) ]))
                ))
                (fun seen octets ->
                    let v4 = IPAddress octets
                    let zeros count = Array.zeroCreate<byte> count

                    for allowLoopback in [ false; true ] do
                        let expected = AddressPolicy.refusal v4 allowLoopback
                        seen.Count(if isNull expected then "permitted" else "refused")

                        for embedded in
                            [
                                IPAddress(Array.concat [ zeros 10; [| 255uy; 255uy |]; octets ])
                                IPAddress(Array.concat [ [| 0uy; 0x64uy; 0xFFuy; 0x9Buy |]; zeros 8; octets ])
                                IPAddress(Array.concat [ [| 0x20uy; 2uy |]; octets; zeros 10 ])
                            ] do
                            Expect.equal (AddressPolicy.refusal embedded allowLoopback) expected (string embedded))

            testTheory
                "an address is judged"
                [
                    "127.0.0.1", "loopback", "permitted"
                    "127.255.255.255", "loopback", "permitted"
                    "::1", "loopback", "permitted"
                    "::ffff:127.0.0.1", "loopback", "permitted"
                    "0.0.0.0", "unspecified", "unspecified"
                    "0.1.2.3", "unspecified", "unspecified"
                    "::", "unspecified", "unspecified"
                    "::ffff:0.0.0.0", "unspecified", "unspecified"
                    "169.254.169.254", "link-local", "link-local"
                    "fe80::1", "link-local", "link-local"
                    "febf::1", "link-local", "link-local"
                    "224.0.0.1", "multicast", "multicast"
                    "239.255.255.255", "multicast", "multicast"
                    "ff02::1", "multicast", "multicast"
                    "255.255.255.255", "broadcast", "broadcast"
                    "10.0.0.1", "permitted", "permitted"
                    "8.8.8.8", "permitted", "permitted"
                    "240.0.0.1", "reserved", "reserved"
                    "fd00::1", "permitted", "permitted"
                    "fec0::1", "site-local", "site-local"
                    "2001:db8::1", "permitted", "permitted"
                ]
            <| fun (address, byDefault, withLoopback) ->
                Expect.equal (refusal address false, refusal address true) (byDefault, withLoopback) address

            testTheory
                "a dns name matcher is read"
                [
                    "a.b", Some(ExactName "a.b")
                    "A.B.", Some(ExactName "a.b")
                    "*", Some(NameSuffix "")
                    "*.B", Some(NameSuffix ".b")
                    "*b", Some(NameSuffix "b")
                    "", None
                    "a*", None
                    "**.b", None
                    "*.", None
                    "*..b", None
                    "127.0.0.1", Some(ExactName "127.0.0.1")
                    "2001:DB8:0::1", Some(ExactName "2001:db8::1")
                    "127.1", None
                    "*.0.0.1", None
                    "*1", None
                    "a:80", None
                ]
            <| fun (text, expected) -> Expect.equal (DnsNameMatcher.tryParse text |> Result.toOption) expected text
        ]
