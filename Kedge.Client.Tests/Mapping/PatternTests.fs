module Kedge.Client.Tests.Mapping.PatternTests

open System.Text.RegularExpressions
open Expecto
open FsCheck.FSharp
open Jint
open Kedge.Client.Domain
open Kedge.PropertyTests

let private parse (text: string) =
    match Pattern.Parse text with
    | Ok pattern -> pattern
    | Error fault -> failtestf "%s: at character %d, %s" text fault.At fault.Detail

let private rejected (text: string) (at: int) (word: string) =
    test $"{text} is rejected at character {at}" {
        match Pattern.Parse text with
        | Ok _ -> failtest "it was accepted"
        | Error fault ->
            Expect.equal fault.At at "the place"
            Expect.stringContains fault.Detail word "the reason"
    }

let private matches (pattern: string) (yes: string list) (no: string list) =
    test $"{pattern} matches what it should" {
        let parsed = parse pattern

        for text in yes do
            Expect.isTrue (parsed.IsMatch text) text

        for text in no do
            Expect.isFalse (parsed.IsMatch text) text
    }

[<Tests>]
let examples =
    testList
        "patterns"
        [
            matches "^a[.]b$" [ "a.b" ] [ "xa.b"; "a.bx"; "a-b" ]
            matches "internal" [ "x.internal.example" ] [ "external" ]
            matches @"^(?i)PROD\.X$" [ "prod.x" ] [ "prd.x" ]
            matches "(?i:A)b" [ "ab" ] [ "aB" ]
            matches "^[[a]$" [ "["; "a" ] [ "b" ]
            matches "^[]a]$" [ "]"; "a" ] [ "b" ]
            matches "^[^]a]$" [ "b" ] [ "]"; "a" ]
            matches "^[a-z0-9-_]+$" [ "a-b_9" ] [ "a.b" ]
            matches "^x{2,3}$" [ "xx"; "xxx" ] [ "x"; "xxxx" ]
            matches "^x{,2}$" [ "x{,2}" ] [ "xx" ]
            matches @"^\d\.\x61\x{62}\.\056$" [ "7.ab.." ] [ "x.ab.." ]
            matches @"\Aa\z" [ "a" ] [ "ab" ]
            matches @"^a\b-\Bb?" [ "a-" ] [ "ab" ]
            matches "^(a|b|)c$" [ "ac"; "bc"; "c" ] [ "abc" ]
            matches "^(?P<x>a)(?<y>b)$" [ "ab" ] [ "a" ]
            matches @"^\w+\W\s*$" [ "a_1." ] [ "a b c" ]
            matches "^(?:ab)+?$" [ "ab"; "abab" ] [ "aba" ]

            test "groups have the values of the leftmost match, or none" {
                let pattern = parse "^(?P<first>[a-z]+)([.](?P<second>[a-z]+))?$"

                match pattern.TryMatch "one.two", pattern.TryMatch "one" with
                | ValueSome both, ValueSome first ->
                    Expect.equal (both "first", both "second") ("one", "two") "both"
                    Expect.equal (first "first", first "second") ("one", "") "one of them"
                | _ -> failtest "both match"

                Expect.isTrue (pattern.TryMatch "1").IsNone "no match"
                Expect.equal pattern.Groups [ "first"; "second" ] "unnamed groups do not count"
            }

            rejected "a(b" 2 "not closed"
            rejected "ab)" 3 "no beginning"
            rejected "x[a" 2 "not closed"
            rejected "*a" 1 "nothing to repeat"
            rejected "a**" 2 "another"
            rejected "a{3,2}" 2 "wrong way round"
            rejected "a{1001}" 2 "1000"
            rejected "[z-a]" 2 "wrong way round"
            rejected @"a\Qb\E" 2 @"\Q"
            rejected "x[[:alpha:]]" 3 "alpha"
            rejected @"ab\C" 3 @"\C"
            rejected "(?U)a+" 1 "U"
            rejected @"\pL" 1 "Unicode"
            rejected "(?=a)" 1 "ahead"
            rejected "(?<!a)" 1 "group"
            rejected @"(a)\1" 4 "references"
            rejected @"a\y" 2 "escape"
            rejected "a\\" 2 "backslash"
            rejected "(?P<a>x)(?P<a>y)" 9 "another group"
            rejected "(?P<a b>x)" 1 "letters, digits"
            rejected "(?q)a" 1 "not a flag"
            rejected "((((a{100}){100}){100}){100})" 1 "too large"
            rejected (String.replicate 200 "(" + String.replicate 200 ")") 102 "nested deeper"

            test "a pattern that defeats backtracking takes no longer than others" {
                let pattern = parse "^(([a-z]+)*)*[.]$"
                Expect.isFalse (pattern.IsMatch(String.replicate 5000 "a")) "no match"
            }
        ]

/// Patterns in text, of every construct.
let private texts =
    let atom =
        Gen.frequency
            [
                6, Gen.elements [ "a"; "b"; "[.]"; @"\."; "-"; "1"; "x"; "_"; ":" ]
                3, Gen.elements [ "[a-c]"; "[^.]"; "[a-z0-9-]"; @"\d"; @"\w"; @"\W"; @"[\d.]"; "."; "[^a-z]" ]
                1,
                Gen.elements
                    [
                        "^"
                        "$"
                        @"\A"
                        @"\z"
                        @"\b"
                        @"\B"
                        "(?i)"
                        "(?i:A)"
                        "(?m:b)"
                        @"\x61"
                        "{"
                    ]
            ]

    let rec pattern (depth: int) =
        if depth = 0 then
            atom
        else
            Gen.frequency
                [
                    4, atom
                    4, Gen.map2 (+) (pattern (depth - 1)) (pattern (depth - 1))
                    1, Gen.map2 (fun one other -> $"(?:{one}|{other})") (pattern (depth - 1)) (pattern (depth - 1))
                    1, Gen.map (fun inner -> $"(?:{inner})") (pattern (depth - 1))
                    1, Gen.map (fun inner -> $"({inner})") (pattern (depth - 1))
                    2,
                    Gen.map2
                        (fun inner operator -> $"(?:{inner}){operator}")
                        (pattern (depth - 1))
                        (Gen.elements [ "*"; "+"; "?"; "{2}"; "{1,}"; "{0,2}"; "*?"; "+?" ])
                ]

    let host =
        Gen.elements [ "a"; "b"; "."; "-"; "1"; "x"; "_"; ":"; "c"; "z" ]
        |> Gen.listOfLength 5
        |> Gen.bind (fun letters -> Gen.elements [ for n in 0..5 -> String.concat "" (List.truncate n letters) ])

    Gen.zip (pattern 5) (Gen.listOfLength 8 host)

[<Tests>]
let laws =
    testList
        "laws of patterns"
        [
            Law.test
                "every dialect of a pattern matches the same hosts, and so does .NET's own reading of the text"
                600
                [ "matched", 200; "not matched", 200 ]
                (Arb.fromGen texts)
                (fun seen (text, hosts) ->
                    let pattern = parse text
                    let engine = new Engine()
                    engine.SetValue("source", pattern.JavaScript) |> ignore

                    for host in hosts do
                        let matches = pattern.IsMatch host
                        seen.When("matched", matches)
                        seen.When("not matched", not matches)

                        let inJavaScript =
                            engine.SetValue("host", host).Evaluate("new RegExp(source).test(host)").AsBoolean()

                        Expect.equal inJavaScript matches $"JavaScript, {text} on {host}"

                        // On these texts RE2 and .NET mean the same, but for $ and for where a flag ends.
                        if not (text.Contains "(?i)" || text.Contains "{") then
                            let reference = Regex(text.Replace("$", @"\z"))
                            Expect.equal (reference.IsMatch host) matches $".NET, {text} on {host}")

            Law.test
                "any text is a pattern or an error with a place inside of it"
                3000
                [ "pattern", 100; "error", 300 ]
                (Arb.fromGen (
                    Gen.elements
                        [
                            "a"
                            "("
                            ")"
                            "["
                            "]"
                            "^"
                            "\\"
                            "{"
                            "}"
                            "?"
                            "*"
                            "|"
                            "P"
                            "<"
                            ">"
                            "-"
                            "1"
                            ","
                            "$"
                            "x"
                            "Q"
                            ":"
                            "é"
                            "😀"
                        ]
                    |> Gen.listOf
                    |> Gen.map (String.concat "")
                ))
                (fun seen text ->
                    match Pattern.Parse text with
                    | Ok pattern ->
                        seen.Count "pattern"
                        pattern.IsMatch "a.example" |> ignore

                        (new Engine()).SetValue("source", pattern.JavaScript).Evaluate("new RegExp(source)")
                        |> ignore
                    | Error fault ->
                        seen.Count "error"
                        Expect.isTrue (fault.At >= 1 && fault.At <= text.Length + 1) "the place")
        ]
