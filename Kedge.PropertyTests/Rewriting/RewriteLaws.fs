/// Laws of what routes change about requests and responses.
module Kedge.PropertyTests.RewriteLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private rewriteOf (prefix: string) (replacement: string) : PathReplacement =
    PathStart(prefix, replacement.TrimEnd '/')

let private path =
    (Generators.textAfter [ "/" ] [ "a"; "b"; "/"; "%2F"; "~"; ";v=1"; "%3B" ]).Generator

let private canonical (text: string) : string option =
    match RequestPath.canonicalise text with
    | Ok path -> Some path
    | Error _ -> None

let private paths =
    let rest = Gen.frequency [ 1, Gen.constant ""; 6, path ]

    Gen.zip3 (Gen.elements [ "/a"; "/a/b"; "" ]) (Gen.elements [ ""; "/"; "/v1"; "/v1/"; "/a"; "/a/b/c" ]) rest
    |> Arb.fromGen

let private filters: Filters =
    { Filters.None with
        Path = Some(PathStart("/api", "/v1"))
        Host = "shop.internal"
        ReverseLocation = true
    }

let private names = [ "x-a"; "x-b"; "x-c" ]

let private value parts : HeaderValue = { Parts = parts }

let private changes =
    gen {
        let! names = Gen.subListOf names

        return!
            names
            |> List.map (fun name ->
                Gen.elements
                    [
                        RemoveHeader name
                        SetHeader(name, value [ Literal "set" ])
                        AddHeader(name, value [ Literal "added" ])
                        SetHeader(name, value [ Variable TokenSubject ])
                        AddHeader(name, value [ Literal "by "; Variable TokenSubject ])
                    ])
            |> Gen.sequenceToList
    }

let private sent =
    Gen.listOf (Gen.zip (Gen.elements ("X-A" :: names)) (Gen.elements [ "1"; "2" ]))

[<Tests>]
let tests =
    testList
        "rewriting"
        [
            Law.test
                "the rewritten path is canonical and does not leave the replacement"
                20_000
                [ "below the prefix", 2000; "the prefix itself", 100; "with parameters", 500 ]
                paths
                (fun seen (prefix, replacement, rest) ->
                    match canonical (prefix + rest) with
                    | Some path when path = prefix || path.StartsWith(prefix + "/", StringComparison.Ordinal) ->
                        let rewrite = rewriteOf prefix replacement
                        let result = rewrite.Of path
                        let start = replacement.TrimEnd '/'
                        seen.When("below the prefix", path <> prefix)
                        seen.When("the prefix itself", (path = prefix))
                        seen.When("with parameters", RequestPath.hasParameters (path.AsSpan()))
                        Expect.equal (RequestPath.canonicalise result) (Ok result) $"{path} -> {result}"

                        Expect.isTrue
                            (result = start || result.StartsWith(start + "/", StringComparison.Ordinal))
                            $"{result} is below {start}"
                    | _ -> ())

            Law.test
                "a path is changed back to what it was, except that of `/a` and `/a/` one is left when nothing replaces it"
                20_000
                [ "there and back", 2000; "one of the two", 20 ]
                paths
                (fun seen (prefix, replacement, rest) ->
                    match canonical (prefix + rest) with
                    | Some path when path = prefix || path.StartsWith(prefix + "/", StringComparison.Ordinal) ->
                        let rewrite = rewriteOf prefix replacement
                        let back = rewrite.Back(rewrite.Of path)

                        if path = prefix && replacement.TrimEnd '/' = "" then
                            seen.Count "one of the two"
                            Expect.equal back (ValueSome(prefix + "/")) path
                        else
                            seen.Count "there and back"
                            Expect.equal back (ValueSome path) path
                    | _ -> ())

            test "what replaced the root is changed back to the root" {
                Expect.equal ((rewriteOf "" "/v1").Back "/v1") (ValueSome "/") ""
            }

            testTheory
                "a location of the backend becomes one of the caller"
                [
                    "http://shop.internal/v1/x?a=b#c", "https://shop.example/api/x?a=b#c"
                    "https://SHOP.internal:443/v1", "https://shop.example/api"
                    "http://shop.internal", "https://shop.example"
                    "//shop.internal/v1/x", "//shop.example/api/x"
                    "/v1/x", "/api/x"
                    "/v1?a=/v1", "/api?a=/v1"
                    "/v1/../secret", "/v1/../secret"
                    "/v12", "/v12"
                    "x", "x"
                    "http://other.example/v1/x", "http://other.example/v1/x"
                    "http://shop.internal:8080/v1/x", "http://shop.internal:8080/v1/x"
                    "http://shop.internal@evil.example/v1", "http://shop.internal@evil.example/v1"
                    "mailto:a@shop.internal", "mailto:a@shop.internal"
                ]
            <| fun (sent, expected) ->
                Expect.equal (ReverseLocation.location filters "https" "shop.example" sent) expected sent

            testTheory
                "without another host, only paths are changed"
                [
                    "https://shop.example/v1/x", "https://shop.example/api/x"
                    "http://shop.example/v1/x", "http://shop.example/api/x"
                    "http://shop.internal/v1/x", "http://shop.internal/v1/x"
                ]
            <| fun (sent, expected) ->
                let filters = { filters with Host = "" }
                Expect.equal (ReverseLocation.location filters "https" "shop.example" sent) expected sent

            testTheory
                "the path of a cookie becomes one of the caller"
                [
                    "a=/v1; Path=/v1; Secure", "a=/v1; Path=/api; Secure"
                    "a=b; path=/v1/x", "a=b; path=/api/x"
                    "a=b; Path=/", "a=b; Path=/"
                    "path=/v1", "path=/v1"
                    "a=b", "a=b"
                ]
            <| fun (sent, expected) -> Expect.equal (ReverseLocation.cookie filters sent) expected sent

            test "a cookie for the root becomes one for the prefix that was removed" {
                let filters =
                    { filters with
                        Path = Some(PathStart("/api", ""))
                    }

                Expect.equal (ReverseLocation.cookie filters "a=b; Path=/") "a=b; Path=/api" "the root"
            }

            Law.test
                "headers are removed, replaced or added, others stay, and without the variable nothing of the caller is left"
                5_000
                [ "changed", 2000; "absent", 1000; "forged", 500 ]
                (Arb.fromGen (Gen.zip3 changes sent (Gen.elements [ None; Some "ann"; Some "a\nb" ])))
                (fun seen (changes, headers, subject) ->
                    let lookup variable = if variable = TokenSubject then subject else None
                    let result = HeaderChange.apply lookup changes headers

                    let values (name: string) headers =
                        headers
                        |> List.filter (fun (other: string, _) -> other.ToLowerInvariant() = name)
                        |> List.map snd

                    let subject = subject |> Option.filter HeaderValue.IsPrintable
                    seen.When("changed", (not changes.IsEmpty))

                    for name in names do
                        let before, after = values name headers, values name result

                        match changes |> List.tryFind (fun change -> change.Name = name) with
                        | None -> Expect.equal after before "untouched"
                        | Some(RemoveHeader _) -> Expect.equal after [] "removed"
                        | Some(SetHeader(_, { Parts = [ Literal text ] })) -> Expect.equal after [ text ] "replaced"
                        | Some(AddHeader(_, { Parts = [ Literal text ] })) ->
                            Expect.equal after (before @ [ text ]) "added"
                        | Some(SetHeader _) ->
                            seen.When("absent", subject.IsNone)
                            seen.When("forged", (subject.IsNone && not before.IsEmpty))
                            Expect.equal after (Option.toList subject) "the subject or nothing"
                        | Some(AddHeader _) ->
                            let added = subject |> Option.map (fun subject -> "by " + subject)

                            Expect.equal
                                after
                                (match added with
                                 | Some text -> before @ [ text ]
                                 | None -> [])
                                "the subject or nothing")

            testTheory
                "headers that a route must not change are refused with the reason"
                [
                    "Host", "rewrite.host"
                    ":authority", "rewrite"
                    "content-length", "framing"
                    "Transfer-Encoding", "framing"
                    "Connection", "one connection"
                    "TE", "one connection"
                    "Proxy-Authorization", "proxies"
                    "X-Forwarded-For", "--trusted_proxies"
                    "X_Forwarded_For", "--trusted_proxies"
                    "Forwarded", "--trusted_proxies"
                    "X-Kedge-Request-ID", "kedge itself"
                    "grpc-timeout", "gRPC protocol"
                    "a b", "a header name"
                ]
            <| fun (name, reason) ->
                match HeaderChange.tryParseName name with
                | Ok _ -> failtest name
                | Error rule -> Expect.stringContains rule reason name

            testTheory
                "values are texts and variables"
                [
                    "plain", Ok [ Literal "plain" ]
                    "", Ok [ Literal "" ]
                    "{client_address}", Ok [ Variable ClientAddress ]
                    "a {host}{route}", Ok [ Literal "a "; Variable RequestHost; Variable RouteName ]
                    "{\"a\": 1}", Ok [ Literal "{\"a\": 1}" ]
                    "{user}", Error "not {user}"
                    "é", Error "visible ASCII"
                    " a", Error "blanks"
                    String('a', 4097), Error "4096"
                ]
            <| fun (text, expected) ->
                match HeaderChange.tryParseValue text, expected with
                | Ok value, Ok parts -> Expect.equal value.Parts parts text
                | Error rule, Error reason -> Expect.stringContains rule reason text
                | parsed, _ -> failtestf "%s: %A" text parsed
        ]
