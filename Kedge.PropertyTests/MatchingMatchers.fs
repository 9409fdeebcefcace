module Kedge.PropertyTests.MatchingMatchers

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private hosts =
    [ "a.example"; "kiosk.example"; "b.a.example"; "10.0.0.1"; "::1" ]

let private hostPairs =
    Gen.elements hosts
    |> Gen.bind (fun host -> Gen.zip (Gen.constant host) (Gen.elements hosts |> Gen.bind Generators.requestHost))
    |> Arb.fromGen

let private asciiLower (text: string) =
    String.map (fun c -> if c >= 'A' && c <= 'Z' then char (int c + 32) else c) text

let private services =
    gen {
        let! service = Gen.elements [ "a.A"; "a.b"; "A"; "a"; "a.Ab" ]
        let! method = Gen.elements [ "Get"; "A"; "a"; "Getb" ]
        let fullMethod = service + "/" + method
        let! cut = Gen.choose (0, fullMethod.Length)

        let! text =
            Gen.oneof
                [
                    Gen.elements
                        [
                            service
                            fullMethod
                            fullMethod.Substring(0, cut)
                            fullMethod.Substring(0, cut) + "*"
                        ]
                    (Generators.textOf [ "a"; "."; "A"; "/"; "Get"; "b"; "*" ]).Generator
                ]

        return text, service, method
    }
    |> Arb.fromGen

[<Tests>]
let tests =
    testList
        "matchers"
        [
            Law.test
                "a host matcher holds for every ASCII case of its host, with or without the root's dot, and nothing else"
                10_000
                hostPairs
                (fun tally (text, host) ->
                    match HostMatcher.tryParse text with
                    | Error rule -> failtestf "%s: %s" text rule
                    | Ok matcher ->
                        let bare =
                            if host.EndsWith '.' then
                                host.Substring(0, host.Length - 1)
                            else
                                host

                        let expected = asciiLower bare = text
                        tally.Count(if expected then "holds" else "does not hold")
                        tally.CountIf (expected && host <> text) "holds for another spelling"
                        Expect.equal (matcher.Holds(host.AsSpan())) expected "holds"
                        Expect.isTrue (AnyHost.Holds(host.AsSpan())) "any host")
                (fun tally ->
                    tally.Expect 1000 "holds"
                    tally.Expect 500 "holds for another spelling"
                    tally.Expect 3000 "does not hold")

            Law.test
                "a host matcher reads every spelling of its host alike"
                5_000
                (Arb.fromGen (
                    Gen.elements hosts
                    |> Gen.bind (fun host -> Gen.zip (Gen.constant host) (Generators.anyCase host))
                ))
                (fun tally (host, spelled) ->
                    tally.CountIf (spelled <> host) "another case"
                    let expected: Result<HostMatcher, string> = Ok(ExactHost host)
                    Expect.equal (HostMatcher.tryParse spelled) expected "as it is"

                    let dotted = if host.Contains ':' then $"[{spelled}]" else spelled + "."
                    Expect.equal (HostMatcher.tryParse dotted) expected "with brackets or a dot"

                    let withPort = (if host.Contains ':' then $"[{spelled}]" else spelled) + ":8080"
                    Expect.isError (HostMatcher.tryParse withPort) "a host has no port"

                    Expect.equal
                        (HostMatcher.tryParseAuthority withPort)
                        (Ok(struct (ExactHost host, ExactPort 8080us)))
                        "an authority may have one")
                (fun tally -> tally.Expect 2000 "another case")

            testTheory
                "a host matcher that is no host is refused"
                [ "*.a"; "*"; "a b"; "a/"; "."; "a..b"; "é.example"; "%41" ]
            <| fun text -> Expect.isError (HostMatcher.tryParse text) text

            testCase "a port matcher holds for its port alone, and an authority without port has two"
            <| fun () ->
                let wrong (port: uint32) =
                    match PortMatcher.tryParse port with
                    | Error _ -> port <= 65535u
                    | Ok matcher ->
                        port > 65535u
                        || (port <> 0u && not (matcher.Holds(AuthorityPorts.Of(uint16 port))))
                        || matcher.Holds(AuthorityPorts.Of 7us) <> (port = 0u || port = 7u)
                        || matcher.Holds AuthorityPorts.Unspecified
                           <> (port = 0u || port = 80u || port = 443u)

                Expect.isEmpty (Seq.filter wrong (seq { 0u .. 70_000u })) "ports"

            Law.test
                "a service matcher holds for what its text says"
                20_000
                services
                (fun tally (text, service, method) ->
                    let fullMethod = service + "/" + method

                    match ServiceMatcher.tryParse text with
                    | Error _ -> tally.Count "refused"
                    | Ok matcher ->
                        let subject = if text.Contains '/' then fullMethod else service

                        let expected =
                            if text = "" then
                                true
                            elif text.EndsWith '*' then
                                subject.StartsWith(text.TrimEnd '*', StringComparison.Ordinal)
                            else
                                subject = text

                        tally.CountIf (expected && text <> "" && text <> "*") "holds"
                        tally.CountIf (expected && text.Contains '/') "holds with a method"
                        tally.CountIf (not expected) "does not hold"
                        Expect.equal (matcher.Holds(service.AsSpan(), fullMethod.AsSpan())) expected "holds")
                (fun tally ->
                    tally.Expect 1000 "holds"
                    tally.Expect 500 "holds with a method"
                    tally.Expect 2000 "does not hold"
                    tally.Expect 500 "refused")

            Law.test
                "a header matcher holds when its value is among the values of its name in any case"
                5_000
                (Arb.fromGen (
                    Gen.listOf (
                        Gen.zip
                            (Gen.elements [ "x-env"; "x-team" ] |> Gen.bind Generators.anyCase)
                            (Gen.elements [ "prod"; "Prod"; "prod "; "" ])
                    )
                ))
                (fun tally headers ->
                    match HeaderMatcher.tryParse ("X-Env", "prod") with
                    | Error rule -> failtest rule
                    | Ok matcher ->
                        let expected =
                            headers
                            |> List.exists (fun (name, value) -> asciiLower name = "x-env" && value = "prod")

                        tally.Count(if expected then "holds" else "does not hold")
                        let headers = HeaderList headers
                        Expect.equal (matcher.Holds &headers) expected "holds")
                (fun tally ->
                    tally.Expect 500 "holds"
                    tally.Expect 200 "does not hold")

            testTheory
                "a header that no request can have is refused"
                [
                    "", "a"
                    "a b", "a"
                    ":path", "/"
                    "é", "a"
                    "a", "b\r\nc"
                    "a", " b"
                    "a", "\000"
                ]
            <| fun (name, value) -> Expect.isError (HeaderMatcher.tryParse (name, value)) name
        ]
