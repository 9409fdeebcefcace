module Kedge.PropertyTests.MatcherLaws

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
                [ "holds", 1000; "holds for another spelling", 500; "does not hold", 3000 ]
                hostPairs
                (fun seen (text, host) ->
                    match HostMatcher.tryParse text with
                    | Error rule -> failtestf "%s: %s" text rule
                    | Ok matcher ->
                        let bare =
                            if host.EndsWith '.' then
                                host.Substring(0, host.Length - 1)
                            else
                                host

                        let expected = asciiLower bare = text
                        seen.Count(if expected then "holds" else "does not hold")
                        seen.When("holds for another spelling", (expected && host <> text))
                        Expect.equal (matcher.Holds(host.AsSpan())) expected "holds"
                        Expect.isTrue (AnyHost.Holds(host.AsSpan())) "any host")

            Law.test
                "a host matcher reads every spelling of its host alike"
                5_000
                [ "another case", 2000 ]
                (Arb.fromGen (
                    Gen.elements hosts
                    |> Gen.bind (fun host -> Gen.zip (Gen.constant host) (Generators.anyCase host))
                ))
                (fun seen (host, spelled) ->
                    seen.When("another case", (spelled <> host))
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

            testTheory
                "a host matcher that is not a host is rejected"
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
                [
                    "holds", 1000
                    "holds with a method", 500
                    "does not hold", 2000
                    "refused", 500
                ]
                services
                (fun seen (text, service, method) ->
                    let fullMethod = service + "/" + method

                    match ServiceMatcher.tryParse text with
                    | Error _ -> seen.Count "refused"
                    | Ok matcher ->
                        let subject = if text.Contains '/' then fullMethod else service

                        let expected =
                            if text = "" then
                                true
                            elif text.EndsWith '*' then
                                subject.StartsWith(text.TrimEnd '*', StringComparison.Ordinal)
                            else
                                subject = text

                        seen.When("holds", (expected && text <> "" && text <> "*"))
                        seen.When("holds with a method", (expected && text.Contains '/'))
                        seen.When("does not hold", (not expected))
                        Expect.equal (matcher.Holds(service.AsSpan(), fullMethod.AsSpan())) expected "holds")

            Law.test
                "a header matcher holds when its value is among the values of its name in any case"
                5_000
                [ "holds", 500; "does not hold", 200 ]
                (Arb.fromGen (
                    Gen.listOf (
                        Gen.zip
                            (Gen.elements [ "x-env"; "x-team" ] |> Gen.bind Generators.anyCase)
                            (Gen.elements [ "prod"; "Prod"; "prod "; "" ])
                    )
                ))
                (fun seen headers ->
                    match HeaderMatcher.tryParse ("X-Env", "prod") with
                    | Error rule -> failtest rule
                    | Ok matcher ->
                        let expected =
                            headers
                            |> List.exists (fun (name, value) -> asciiLower name = "x-env" && value = "prod")

                        seen.Count(if expected then "holds" else "does not hold")
                        let headers = HeaderList headers
                        Expect.equal (matcher.Holds &headers) expected "holds")

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
