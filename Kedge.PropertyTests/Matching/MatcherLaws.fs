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

let private wildcardCases =
    gen {
        let! parent = Gen.elements [ "example"; "a.example"; "kiosk.example" ]

        let! host =
            Gen.elements
                [
                    "x." + parent
                    "x.y." + parent
                    parent
                    "." + parent
                    "x" + parent
                    "a.example"
                ]
            |> Gen.bind Generators.requestHost

        let! spelled = Generators.anyCase parent
        return spelled, host
    }
    |> Arb.fromGen

/// The parameters of a query, decoded one by one: what `QueryMatcher` compares without decoding anything.
let private decoded (query: string) =
    let isEscape (text: string) at =
        at + 2 < text.Length
        && Uri.IsHexDigit text[at + 1]
        && Uri.IsHexDigit text[at + 2]

    let octets (text: string) =
        let rec go at =
            if at = text.Length then
                []
            elif text[at] = '+' then
                32uy :: go (at + 1)
            elif text[at] = '%' && isEscape text at then
                Convert.ToByte(text.Substring(at + 1, 2), 16) :: go (at + 3)
            else
                byte text[at] :: go (at + 1)

        go 0

    [
        for parameter in query.Split '&' do
            if parameter <> "" then
                let parts = parameter.Split('=', 2)
                octets parts[0], octets (if parts.Length = 2 then parts[1] else "")
    ]

let private queries =
    let text =
        (Generators.textOf [ "v"; "a"; "+"; "%20"; "%41"; "A"; "%4a"; "%c3%a9"; "%C3"; "%"; "%4"; "=" ]).Generator

    gen {
        let! count = Gen.choose (0, 4)
        let! names = Gen.listOfLength count (Gen.oneof [ Gen.constant "v"; text ])
        let! values = Gen.listOfLength count text
        let! bare = Gen.elements [ true; false ]
        let! name = Gen.elements [ "v"; "a"; "é"; " "; "%"; "vA" ]
        let! value = Gen.elements [ ""; "a"; "A"; "J"; "é"; " a"; "%"; "%4"; "=" ]

        let parameters =
            List.zip names values
            |> List.map (fun (name, value) -> if bare && value = "" then name else name + "=" + value)

        return String.concat "&" parameters, name, value
    }
    |> Arb.fromGen

let private headerCases =
    let value = Gen.elements [ ""; "p"; "prod"; "PROD"; "xprod"; "dev" ]

    let condition =
        Gen.oneof
            [
                Gen.map Decoded.HeaderCondition.Is value
                Gen.map Decoded.HeaderCondition.StartsWith (Gen.elements [ "p"; "pr"; "prod" ])
                Gen.constant Decoded.HeaderCondition.Present
            ]

    let header =
        Gen.zip (Gen.frequency [ 3, Generators.anyCase "x-env"; 1, Gen.elements [ "x-en"; "x-envy" ] ]) value

    Gen.zip condition (Gen.choose (0, 3) |> Gen.bind (fun count -> Gen.listOfLength count header))
    |> Arb.fromGen

let private paths =
    let path =
        (Generators.textAfter [ "/" ] [ "a"; "b"; "/"; "%41"; "%7e"; "." ]).Generator

    Gen.zip path path |> Arb.fromGen

[<Tests>]
let tests =
    testList
        "matchers"
        [
            Law.test
                "a wildcard takes every name with one or more labels before its own, and nothing else"
                10_000
                [
                    "holds", 2000
                    "holds for two labels", 500
                    "the name itself", 500
                    "does not hold", 3000
                ]
                wildcardCases
                (fun seen (parent, host) ->
                    match HostMatcher.tryParse ("*." + parent) with
                    | Error rule -> failtestf "%s: %s" parent rule
                    | Ok matcher ->
                        let bare =
                            asciiLower (
                                if host.EndsWith '.' then
                                    host.Substring(0, host.Length - 1)
                                else
                                    host
                            )

                        let ending = "." + asciiLower parent
                        let before = bare.Length - ending.Length
                        let expected = before > 0 && bare.EndsWith(ending, StringComparison.Ordinal)
                        seen.Count(if expected then "holds" else "does not hold")
                        seen.When("holds for two labels", (expected && bare.Substring(0, before).Contains '.'))
                        seen.When("the name itself", ("." + bare = ending))
                        Expect.equal (matcher.Holds(host.AsSpan())) expected "holds"

                        // What the index and the analysis rely on.
                        if expected then
                            Expect.contains (ExactHost bare).Wildcards matcher "is one of the host's wildcards")

            Law.test
                "a query matcher compares the first value of its name, decoded"
                20_000
                [
                    "holds", 300
                    "another value", 2000
                    "absent", 2000
                    "a later value would do", 30
                ]
                queries
                (fun seen (query, name, value) ->
                    let octets (text: string) = List.ofArray (Text.Encoding.UTF8.GetBytes text)

                    let values =
                        decoded query
                        |> List.filter (fun (other, _) -> other = octets name)
                        |> List.map snd

                    let expected = List.tryHead values = Some(octets value)
                    seen.When("holds", expected)
                    seen.When("absent", values.IsEmpty)
                    seen.When("another value", (not expected && not values.IsEmpty))
                    seen.When("a later value would do", (not expected && List.contains (octets value) values))
                    let matcher = QueryMatcher.Of(name, value)
                    Expect.equal (matcher.Holds(query.AsSpan())) expected "holds"
                    Expect.equal (matcher.Mismatch query).IsNone expected "no mismatch")

            Law.test
                "a rendered query has its parameters, whatever is in them"
                2_000
                [ "parameters", 1000 ]
                (Arb.fromGen (
                    Gen.listOf (
                        Gen.zip (Gen.elements [ "v"; "a b"; "é=&%+"; "𝄞" ]) (Gen.elements [ ""; "1"; "x y"; "&=?#%zz" ])
                    )
                ))
                (fun seen parameters ->
                    seen.When("parameters", (not parameters.IsEmpty))
                    let first = parameters |> List.distinctBy fst
                    let query = QueryText.render parameters
                    Expect.all first (fun entry -> QueryMatcher.Of(entry).Holds(query.AsSpan())) query)

            Law.test
                "a header matcher takes a value that it gives, a value with its start, or any value, of all that are sent"
                10_000
                [
                    "holds", 2000
                    "holds for a later value", 300
                    "present and empty", 100
                    "another value", 1000
                    "absent", 500
                ]
                headerCases
                (fun seen (condition, headers) ->
                    let values =
                        headers
                        |> List.filter (fun (name, _) -> asciiLower name = "x-env")
                        |> List.map snd

                    let fits (value: string) =
                        match condition with
                        | Decoded.HeaderCondition.Is expected -> value = expected
                        | Decoded.HeaderCondition.StartsWith prefix ->
                            value.Length >= prefix.Length && value.Substring(0, prefix.Length) = prefix
                        | Decoded.HeaderCondition.Present -> true

                    let expected = List.exists fits values
                    seen.When("holds", expected)
                    seen.When("holds for a later value", (expected && not (fits values.Head)))
                    seen.When("present and empty", (condition.IsPresent && values = [ "" ]))
                    seen.When("another value", (not expected && not values.IsEmpty))
                    seen.When("absent", values.IsEmpty)
                    let list = HeaderList headers

                    let matcher: HeaderMatcher =
                        {
                            Name = "x-env"
                            Condition = condition
                        }

                    Expect.equal (matcher.Holds &list) expected "holds"
                    Expect.equal (matcher.Mismatch list).IsNone expected "no mismatch")

            Law.test
                "`/x/**` takes what the two rules `/x` and `/x/*` take, and nothing else"
                20_000
                [
                    "the path itself", 50
                    "below it", 500
                    "beside it", 500
                    "a tree of everything", 50
                ]
                paths
                (fun seen (root, path) ->
                    match RequestPath.canonicalise path, RequestPath.canonicalise root with
                    | Ok path, Ok root ->
                        let root = root.TrimEnd '/'

                        match PathRule.tryParse (root + "/**"), PathRule.tryParse (root + "/*") with
                        | Ok tree, Ok below ->
                            let itself = root <> "" && path = root
                            let isBelow = below.Holds(path.AsSpan())
                            seen.When("the path itself", itself)
                            seen.When("below it", (isBelow && root <> ""))
                            seen.When("beside it", (path.StartsWith root && not itself && not isBelow))
                            seen.When("a tree of everything", (root = ""))
                            Expect.equal (tree.Holds(path.AsSpan())) (itself || isBelow) $"{root}/** {path}"
                            Expect.equal (PathRule.tryParse tree.Text) (Ok tree) "is read as itself"
                            let asterisk = "*"
                            Expect.equal (tree.Holds(asterisk.AsSpan())) (root = "") "OPTIONS * is below `/**` alone"
                        | Error _, Error _ -> ()
                        | tree, below -> failtestf "%A %A" tree below
                    | _ -> ())

            testTheory
                "a method is a token, and a well-known one in the wrong case is a typing error"
                [
                    "get", "did you mean GET"
                    "Delete", "did you mean DELETE"
                    "", "such as GET"
                    "A B", "such as GET"
                    "CONNECT", "counts as GET"
                ]
            <| fun (text, reason) ->
                match MethodMatcher.tryParse text with
                | Ok _ -> failtest text
                | Error rule -> Expect.stringContains rule reason text

            test "methods are compared with case" {
                Expect.equal (MethodMatcher.tryParse "purge") (Ok "purge") "a method of one's own"
                Expect.isTrue (MethodMatcher.holds [||] ("get".AsSpan())) "any"
                Expect.isTrue (MethodMatcher.holds [| "POST"; "GET" |] ("GET".AsSpan())) "the second"
                Expect.isFalse (MethodMatcher.holds [| "GET" |] ("get".AsSpan())) "case"
            }

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
                [
                    "*"
                    "*a.example"
                    "a.*.example"
                    "*.*.example"
                    "*."
                    "*.10.0.0.1"
                    "*.[::1]"
                    "*.::1"
                    "*.a..b"
                    "*.a:80"
                    "a b"
                    "a/"
                    "."
                    "a..b"
                    "é.example"
                    "%41"
                ]
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
                    match HeaderMatcher.tryParse ("X-Env", Decoded.HeaderCondition.Is "prod") with
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
            <| fun (name, value) ->
                Expect.isError (HeaderMatcher.tryParse (name, Decoded.HeaderCondition.Is value)) name
        ]
