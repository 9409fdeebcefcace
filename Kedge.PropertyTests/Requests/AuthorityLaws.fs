module Kedge.PropertyTests.AuthorityLaws

open System
open System.Net
open System.Text.RegularExpressions
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private read (text: string) =
    let mutable authority = Unchecked.defaultof<Authority>

    if Authority.TryParse(text.AsSpan(), &authority) then
        Some(text.Substring(authority.HostStart, authority.HostLength), authority.Port)
    else
        None

let private shape =
    Regex(
        @"\A(?:(?<name>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?|\[(?<v6>[0-9A-Fa-f:.]*)\])(?::(?<port>[1-9][0-9]{0,4}))?\z",
        RegexOptions.CultureInvariant
    )

/// Another reader of the same grammar.
let private oracle (text: string) =
    let found = shape.Match text
    let name = found.Groups["name"].Value
    let v6 = found.Groups["v6"].Value
    let port = found.Groups["port"].Value

    let isV6 = v6.Contains ':' && fst (IPAddress.TryParse v6)

    if
        not found.Success
        || name.Length > 253
        || (name = "" && not isV6)
        || (port <> "" && int port > 65535)
    then
        None
    else
        Some((if name = "" then v6 else name), (if port = "" then -1 else int port))

let private authorities =
    Generators.textAfter
        [
            ""
            "a.example"
            "a.example."
            "a.example:8080"
            "[::1]"
            "[2001:db8::7]:443"
        ]
        [
            "a"
            "example"
            "Host-1_x"
            "."
            ".."
            ":"
            "::1"
            "fe80::1"
            "["
            "]"
            "[::1]"
            "[2001:db8::7]"
            "[::ffff:10.0.0.1]"
            "10.0.0.1"
            ":80"
            ":443"
            ":65535"
            ":65536"
            ":0"
            ":080"
            "@"
            "%41"
            "%25eth0"
            "é"
            " "
            "\000"
            "/"
            String('a', 250)
        ]

let private parseTarget (target: string) =
    let mutable parts = Unchecked.defaultof<RequestTarget>

    if RequestTarget.TryParse(target.AsSpan(), &parts) then
        Some parts
    else
        None

let private targets =
    Generators.textOf
        [
            "/"
            "a"
            "?"
            "?x=1"
            "#"
            "*"
            "http://"
            "HTTPS://"
            "ftp://"
            "a.example"
            ":8080"
            "%2F"
            " "
            "é"
            "\000"
            "/a/b"
        ]

/// Form, authority, path, query.
let private partsOf (target: string) (parts: RequestTarget) =
    parts.Form,
    target.Substring(parts.AuthorityStart, parts.AuthorityLength),
    target.Substring(parts.PathStart, parts.PathLength),
    target.Substring(parts.QueryStart, parts.QueryLength)

[<Tests>]
let tests =
    testList
        "authority"
        [
            Law.test
                "reading an authority agrees with its grammar"
                20_000
                [ "sound", 1000; "malformed", 5000; "IPv6", 50; "with a port", 50 ]
                authorities
                (fun seen text ->
                    let expected = oracle text
                    seen.Count(if expected.IsSome then "sound" else "malformed")
                    seen.When("IPv6", (expected.IsSome && text.StartsWith '['))
                    seen.When("with a port", (expected.IsSome && text.Contains ':' && not (text.StartsWith '[')))
                    Expect.equal (read text) expected "host and port")

            Law.test
                "reading any text as an authority, a target or a matcher never throws"
                10_000
                [ "text", 10_000 ]
                (Arb.fromGen Generators.anyText)
                (fun seen text ->
                    seen.Count "text"
                    Expect.equal (read text) (oracle text) "authority"
                    parseTarget text |> ignore
                    RequestPath.canonicalise text |> ignore
                    PathRule.tryParse text |> ignore
                    HostMatcher.tryParse text |> ignore
                    HostMatcher.tryParseAuthority text |> ignore
                    DnsNameMatcher.tryParse text |> ignore
                    ServiceMatcher.tryParse text |> ignore
                    HeaderMatcher.tryParse (text, Decoded.HeaderCondition.Is text) |> ignore
                    MethodMatcher.tryParse text |> ignore
                    QueryMatcher.tryParse (text, text) |> ignore)

            Law.test
                "a target's parts are its whole text"
                20_000
                [ "malformed", 3000; "Origin", 500; "Absolute", 300; "Asterisk", 20 ]
                targets
                (fun seen target ->
                    match parseTarget target with
                    | None -> seen.Count "malformed"
                    | Some parts ->
                        let form, authority, path, query = partsOf target parts
                        seen.Count(string form)

                        let scheme = target.Substring(0, parts.AuthorityStart)
                        Expect.equal (scheme + authority + path + query) target "the parts"

                        let expectedPort =
                            match scheme.ToLowerInvariant() with
                            | "http://" -> 80us
                            | "https://" -> 443us
                            | _ -> 0us

                        Expect.equal parts.SchemePort expectedPort "the scheme's port"
                        Expect.isTrue (path = "" || path = "*" || path.StartsWith '/') "where the path starts"
                        Expect.isTrue (query = "" || query.StartsWith '?') "where the query starts"
                        Expect.isFalse (path.Contains '?' || authority.Contains '/') "where they end"
                        Expect.equal (form = TargetForm.Absolute) (scheme <> "") "absolute form has a scheme"
                        Expect.equal (form = TargetForm.Asterisk) (path = "*") "asterisk form")

            testCase "the longest name has 253 characters, not counting a trailing dot"
            <| fun () ->
                for length in 1..300 do
                    // Labels of nine characters; the last one is not empty.
                    let name =
                        String.init length (fun i -> if i % 10 = 9 && i < length - 1 then "." else "a")

                    for text in [ name; name + "."; name + ":8080" ] do
                        Expect.equal (read text).IsSome (length <= 253) $"{length} characters"
                        Expect.equal (read text) (oracle text) text

            testTheory
                "an authority is read"
                [
                    "a.example", Some("a.example", -1)
                    "a.example.", Some("a.example", -1)
                    "a.example.:8443", Some("a.example", 8443)
                    "[::1]:443", Some("::1", 443)
                    "10.0.0.1:1", Some("10.0.0.1", 1)
                    "", None
                    ".", None
                    "a..", None
                    "a..b", None
                    "a:", None
                    "a:0", None
                    "a:65536", None
                    "a:080", None
                    "::1", None
                    "[::1", None
                    "[]", None
                    "[::1]x", None
                    "[1.2.3.4]", None
                    "[fe80::1%eth0]", None
                    "user@a", None
                    "a%2eb", None
                    "a b", None
                ]
            <| fun (text, expected) -> Expect.equal (read text) expected text

            testTheory
                "an authority means these ports"
                [
                    "a.example", "/", (80, 443)
                    "a.example:8080", "/", (8080, 8080)
                    "a.example", "http://a.example/", (80, 80)
                    "a.example", "HTTPS://a.example", (443, 443)
                    "a.example:8080", "http://a.example:8080/", (8080, 8080)
                ]
            <| fun (text, target, (first, second)) ->
                let mutable authority = Unchecked.defaultof<Authority>
                Expect.isTrue (Authority.TryParse(text.AsSpan(), &authority)) text

                match parseTarget target with
                | Some parts ->
                    let ports = parts.PortsOf authority
                    Expect.equal (int ports.First, int ports.Second) (first, second) target
                | None -> failtest target

            testTheory
                "a target is split"
                [
                    "/a?b", Some(TargetForm.Origin, "", "/a", "?b")
                    "*", Some(TargetForm.Asterisk, "", "*", "")
                    "http://a.example:80/x?y?z", Some(TargetForm.Absolute, "a.example:80", "/x", "?y?z")
                    "http://a.example", Some(TargetForm.Absolute, "a.example", "", "")
                    "http://a.example?x", Some(TargetForm.Absolute, "a.example", "", "?x")
                    "a.example:443", None
                    "ftp://a/", None
                    "/a#b", None
                    "/a b", None
                    "", None
                    "//a.example/x", Some(TargetForm.Origin, "", "//a.example/x", "")
                ]
            <| fun (target, expected) ->
                Expect.equal (parseTarget target |> Option.map (partsOf target)) expected target
        ]
