module Kedge.PropertyTests.CertificateLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private names =
    [
        "a.example"
        "A.example"
        "b.a.example"
        "c.b.a.example"
        "*.a.example"
        "*.example"
        "*.b.a.example"
        "example"
        "z.test"
    ]

let private start = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let private certificate =
    gen {
        let! names = Gen.listOf (Gen.elements names) |> Gen.resize 3
        let! before = Gen.choose (0, 4)
        let! days = Gen.choose (0, 4)
        let! hash = Gen.elements [ "A1"; "B2"; "C3"; "D4" ]

        return
            {
                Names = names
                NotBefore = start.AddDays(float before)
                NotAfter = start.AddDays(float (before + days))
                Sha256 = hash
            }
    }

let private asked =
    Gen.elements
        [
            "a.example"
            "a.EXAMPLE."
            "b.a.example"
            "x.a.example"
            "x.y.a.example"
            "c.b.a.example"
            "example"
            "w.example"
            "*.a.example"
            ""
            "."
            "nowhere.test"
        ]

/// As the documentation says it, without an index.
let private expected (certificates: CertificateFacts list) (name: string) (now: DateTimeOffset) =
    let name =
        (if name.EndsWith '.' then
             name.Substring(0, name.Length - 1)
         else
             name)
            .ToLowerInvariant()

    let naming text =
        certificates
        |> List.filter (fun c -> c.Names |> List.exists (fun n -> n.ToLowerInvariant() = text))

    let candidates =
        if name = "" || name.Contains '*' then
            []
        else
            match naming name with
            | [] ->
                match name.IndexOf '.' with
                | -1
                | 0 -> []
                | dot -> naming ("*" + name.Substring dot)
            | exact -> exact

    candidates
    |> List.sortBy (fun c ->
        let isValid = c.NotBefore <= now && now <= c.NotAfter
        (if isValid then 0 else 1), -c.NotBefore.Ticks, c.Sha256)
    |> List.tryHead

[<Tests>]
let tests =
    testList
        "certificates"
        [
            Law.test
                "the certificate for a name is the documented one, whatever the order of the list"
                20_000
                [
                    "exact", 2_000
                    "wildcard", 1_000
                    "none", 2_000
                    "several", 1_000
                    "not valid", 1_000
                ]
                (Gen.zip3 (Gen.listOf certificate |> Gen.resize 8) asked (Gen.choose (-1, 9))
                 |> Arb.fromGen)
                (fun seen (certificates, name, day) ->
                    let now = start.AddDays(float day)
                    let table = CertificateTable(Array.ofList certificates)
                    let index = table.Find(name.AsSpan(), now)
                    let found = if index < 0 then None else Some certificates[index]
                    Expect.equal found (expected certificates name now) name
                    let reversed = List.rev certificates
                    let again = CertificateTable(Array.ofList reversed).Find(name.AsSpan(), now)
                    let again = if again < 0 then None else Some reversed[again]
                    Expect.equal (again |> Option.map _.Sha256) (found |> Option.map _.Sha256) "in another order"

                    match found with
                    | None -> seen.Count "none"
                    | Some certificate ->
                        let bare = name.TrimEnd('.')

                        let isExact =
                            certificate.Names
                            |> List.exists (fun n -> String.Equals(n, bare, StringComparison.OrdinalIgnoreCase))

                        seen.Count(if isExact then "exact" else "wildcard")

                        let others =
                            certificates
                            |> List.filter (fun c ->
                                c <> certificate
                                && not (Set.intersect (Set c.Names) (Set certificate.Names)).IsEmpty)

                        seen.When("several", (not others.IsEmpty))
                        seen.When("not valid", (now < certificate.NotBefore || now > certificate.NotAfter)))

            Law.test
                "a certificate is used exactly when some name gets it"
                10_000
                [ "used", 2_000; "by a wildcard alone", 500; "not used", 1_000 ]
                (Gen.zip (Gen.listOf certificate |> Gen.resize 8) (Gen.choose (-1, 9))
                 |> Arb.fromGen)
                (fun seen (certificates, day) ->
                    let now = start.AddDays(float day)
                    let table = CertificateTable(Array.ofList certificates)

                    certificates
                    |> List.iteri (fun index certificate ->
                        let isFound (name: string) = table.Find(name.AsSpan(), now) = index

                        // No certificate has a name that begins so.
                        let byWildcard =
                            certificate.Names
                            |> List.exists (fun name -> name.StartsWith '*' && isFound ("unnamed" + name.Substring 1))

                        let byName = certificate.Names |> List.exists isFound
                        Expect.equal (table.IsUsed(index, now)) (byName || byWildcard) $"{index}"
                        seen.When("used", (byName || byWildcard))
                        seen.When("by a wildcard alone", (byWildcard && not byName))
                        seen.When("not used", (not byName && not byWildcard))))

            Law.test
                "a request is misdirected exactly when another certificate than its connection's names its host"
                20_000
                [
                    "misdirected", 1_000
                    "the default one names the host", 300
                    "no certificate names the host", 2_000
                    "the same certificate", 500
                ]
                (Gen.zip (Gen.zip asked asked) (Gen.zip (Gen.listOf certificate |> Gen.resize 6) (Gen.choose (-1, 9)))
                 |> Arb.fromGen)
                (fun seen ((name, host), (certificates, day)) ->
                    let now = start.AddDays(float day)
                    let table = CertificateTable(Array.ofList certificates)
                    let wanted = expected certificates host now

                    // The default certificate is the first.
                    let got =
                        expected certificates name now |> Option.orElse (List.tryHead certificates)

                    let isSame = String.Equals(name, host, StringComparison.OrdinalIgnoreCase)
                    let misdirected = not isSame && wanted.IsSome && wanted <> got

                    Expect.equal
                        (table.IsMisdirected(name.AsSpan(), host.AsSpan(), now))
                        misdirected
                        $"{host} on a connection for {name}"

                    seen.When("misdirected", misdirected)
                    seen.When("no certificate names the host", wanted.IsNone)
                    seen.When("the same certificate", (not isSame && wanted.IsSome && wanted = got))

                    seen.When("the default one names the host", misdirected && wanted = List.tryHead certificates))
        ]
