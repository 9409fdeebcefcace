module Kedge.PropertyTests.RequestPathLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private pieces =
    [
        "/"
        "/"
        "//"
        "a"
        "admin"
        "x"
        "."
        ".."
        "/../"
        "/./"
        "%2e"
        "%2E%2e"
        "%2f"
        "%5C"
        "%3b"
        ";"
        ";v=1"
        "%61"
        "%64%6D"
        "%25"
        "%252e"
        "%7e"
        "~"
        "%41"
        "%2B"
        "+"
        "%3A"
        ":"
        "%20"
        "%C3%A9"
        "%c0%ae"
        "%e0%80%af"
        "["
        "|"
    ]

let private hostilePieces =
    [
        "%00"
        "%0a"
        "%7F"
        "%"
        "%2"
        "%zz"
        "\\"
        " "
        "\t"
        "é"
        "?"
        "#"
        "\000"
    ]

/// Mostly paths that are accepted, in all their spellings.
let private paths =
    Generators.textAfter [ "/"; "/"; "/a/"; "/admin/"; "/%61dmin/"; "//admin//"; "/x/../admin/%2e/" ] pieces

/// Ways out of a directory, in spellings that careless backends resolve.
let private waysOut =
    Generators.textAfter [ "/" ] [ ".."; ".."; "%2e%2E"; "%5C"; "%5c"; "%2f"; "/"; ";"; "%3b"; "x" ]

/// One piece in ten is hostile.
let private hostilePaths =
    Generators.textAfter
        [ ""; "/"; "/"; "/"; "*" ]
        (List.replicate 3 pieces |> List.concat |> List.append hostilePieces)

// An oracle of its own: a path as a list of segments, a segment as a list of octets, of which those that keep their
// escape are marked.

type private Token =
    | Plain of char
    | Escaped of int

let private keepsEscape octet =
    octet >= 128
    || not (Char.IsAsciiLetterOrDigit(char octet) || "-._~!$&'()*,:=@".Contains(char octet))

let rec private tokens (text: char list) =
    match text with
    | '%' :: high :: low :: rest ->
        let octet = Convert.ToInt32(String [| high; low |], 16)

        (if keepsEscape octet then
             Escaped octet
         else
             Plain(char octet))
        :: tokens rest
    | c :: rest when keepsEscape (int c) && c <> '+' && c <> ';' -> Escaped(int c) :: tokens rest
    | c :: rest -> Plain c :: tokens rest
    | [] -> []

let private oracle (path: string) =
    let segments =
        path.Substring(1).Split '/' |> List.ofArray |> List.map (List.ofSeq >> tokens)

    let resolved =
        (([], false), segments)
        ||> List.fold (fun (above, _) segment ->
            match segment with
            | []
            | [ Plain '.' ] -> above, true
            | [ Plain '.'; Plain '.' ] -> List.truncate (List.length above - 1) above, true
            | segment -> above @ [ segment ], false)

    let spell token =
        match token with
        | Plain c -> string c
        | Escaped octet -> $"%%%02X{octet}"

    match resolved with
    | [], _ -> "/"
    | segments, isDirectory ->
        (segments
         |> List.map (List.map spell >> String.concat "" >> (+) "/")
         |> String.concat "")
        + (if isDirectory then "/" else "")

/// What a backend makes of a path: it unescapes once, then resolves. `separators` says whether it takes escaped slashes
/// and backslashes for separators and drops path parameters, as careless ones do.
let private backendView (separators: bool) (path: string) =
    let unescaped =
        path.Split '/'
        |> Array.map (fun segment ->
            let bare = if separators then segment.Split(';')[0] else segment

            Uri.UnescapeDataString(
                if separators then
                    bare
                else
                    bare
                        .Replace("%2f", "%252F", StringComparison.OrdinalIgnoreCase)
                        .Replace("%5c", "%255C", StringComparison.OrdinalIgnoreCase)
            ))
        |> String.concat "/"

    let split = if separators then [| '/'; '\\' |] else [| '/' |]

    (([]: string list), unescaped.Split(split, StringSplitOptions.RemoveEmptyEntries))
    ||> Array.fold (fun above segment ->
        match segment with
        | "." -> above
        | ".." -> List.truncate (List.length above - 1) above
        | segment -> above @ [ segment ])

let private accepted (path: string) =
    match RequestPath.canonicalise path with
    | Ok canonical -> Some canonical
    | Error _ -> None

[<Tests>]
let tests =
    testList
        "request path"
        [
            Law.test
                "canonicalisation is idempotent, and a canonical path is handed back as it is"
                10_000
                [ "changed", 3000; "canonical", 200; "refused", 500 ]
                paths
                (fun seen path ->
                    match accepted path with
                    | None -> seen.Count "refused"
                    | Some canonical ->
                        seen.Count(if canonical = path then "canonical" else "changed")

                        match RequestPath.canonicalise canonical with
                        | Ok again -> Expect.isTrue (obj.ReferenceEquals(again, canonical)) "the same instance"
                        | Error problem -> failtestf "%s is refused: %s" canonical problem)

            Law.test
                "canonicalisation agrees with an oracle that works on lists of segments"
                10_000
                [ "accepted", 4000 ]
                paths
                (fun seen path ->
                    match accepted path with
                    | None -> ()
                    | Some canonical ->
                        seen.Count "accepted"
                        Expect.equal canonical (oracle path) "the canonical form")

            Law.test
                "a canonical path has no dot segment, no empty segment and no escape in lower case"
                10_000
                [ "accepted", 500 ]
                hostilePaths
                (fun seen path ->
                    match accepted path with
                    | None
                    | Some "*" -> ()
                    | Some canonical ->
                        seen.Count "accepted"
                        Expect.isTrue (canonical.StartsWith '/') "starts at the root"
                        Expect.isFalse (canonical.Contains "//") "empty segments"

                        for segment in canonical.Split '/' do
                            Expect.isFalse (segment = "." || segment = "..") "dot segments"

                        Expect.isTrue (canonical |> Seq.forall (fun c -> c > ' ' && c < '\127')) "visible ASCII"
                        Expect.isFalse (Text.RegularExpressions.Regex.IsMatch(canonical, "%(?![0-9A-F]{2})")) "escapes")

            Law.test
                "canonicalisation never throws, and its two forms agree"
                10_000
                [ "accepted", 500; "refused", 3000 ]
                hostilePaths
                (fun seen path ->
                    match RequestPath.canonicalise path with
                    | Ok canonical ->
                        seen.Count "accepted"
                        Expect.equal (RequestPath.isCanonical (path.AsSpan())) (canonical = path) "isCanonical"
                    | Error _ ->
                        seen.Count "refused"
                        Expect.isFalse (RequestPath.isCanonical (path.AsSpan())) "isCanonical")

            Law.test
                "no spelling of a path gets past a rule for a prefix"
                20_000
                [ "inside", 100; "inside by another spelling", 40; "outside", 4000 ]
                paths
                (fun seen path ->
                    match accepted path with
                    | None -> ()
                    | Some canonical ->
                        let ruleHolds = (PathPrefix "/admin/").Holds(canonical.AsSpan())
                        let served = backendView false path

                        // The backend sees the directory itself, too; only what is in it concerns the rule.
                        let isInside =
                            match served with
                            | "admin" :: _ :: _ -> true
                            | [ "admin" ] -> canonical.EndsWith '/'
                            | _ -> false

                        seen.When("inside", isInside)
                        seen.When("inside by another spelling", (isInside && not (path.StartsWith "/admin/")))
                        seen.When("outside", (not isInside))
                        Expect.equal ruleHolds isInside "the rule holds exactly for what the backend serves from there"

                        Expect.equal
                            (backendView false canonical)
                            served
                            "the backend sees the same in what is forwarded")

            Law.test
                "a path that a rule lets into a directory does not leave it in a careless backend either"
                20_000
                [
                    "inside", 3000
                    "with something to be careless with", 1000
                    "with a backslash", 1000
                ]
                (Gen.oneof [ Arb.toGen paths; Arb.toGen waysOut ] |> Arb.fromGen)
                (fun seen path ->
                    match accepted ("/public/a" + path) with
                    | Some canonical when canonical.StartsWith "/public/" ->
                        seen.Count "inside"

                        seen.When(
                            "with something to be careless with",
                            (canonical.Contains "%2F" || canonical.Contains ';')
                        )

                        seen.When("with a backslash", canonical.Contains "%5C")

                        match backendView true canonical with
                        | "public" :: _ -> ()
                        | place -> failtestf "%s leads to /%s" canonical (String.concat "/" place)
                    | _ -> ())

            Law.test
                "a path rule holds for the paths that its text says"
                10_000
                [ "rule", 3000; "prefix", 200 ]
                (Arb.zip (paths, paths))
                (fun seen (ruleText, rest) ->
                    match PathRule.tryParse ruleText, PathRule.tryParse (ruleText + "*"), accepted ruleText with
                    | Ok rule, Ok prefixRule, Some path ->
                        seen.Count "rule"
                        Expect.isTrue (rule.Holds(path.AsSpan())) "the path itself"
                        Expect.isFalse (rule.Holds((path + "x").AsSpan())) "a longer path"

                        match accepted (ruleText + "x" + rest) with
                        | Some longer when longer.StartsWith(ruleText, StringComparison.Ordinal) ->
                            seen.Count "prefix"
                            Expect.isTrue (prefixRule.Holds(longer.AsSpan())) "a path with the prefix"
                        | _ -> ()
                    | _ -> ())

            testCase "of all beginnings of escaped characters, exactly the overlong ones are refused"
            <| fun () ->
                for lead in 0x80..0xFF do
                    for next in 0x80..0xBF do
                        // The character that a decoder which does not check would make of it, whatever follows: its
                        // least, and the least that may be written in so many octets (RFC 3629, 3).
                        let isOverlong =
                            if lead &&& 0xE0 = 0xC0 then
                                ((lead &&& 0x1F) <<< 6) + (next &&& 0x3F) < 0x80
                            elif lead &&& 0xF0 = 0xE0 then
                                ((lead &&& 0x0F) <<< 12) + ((next &&& 0x3F) <<< 6) + 0x3F < 0x800
                            elif lead &&& 0xF8 = 0xF0 then
                                ((lead &&& 0x07) <<< 18) + ((next &&& 0x3F) <<< 12) + 0xFFF < 0x10000
                            else
                                false

                        let path = $"/%%%02X{lead}%%%02X{next}%%80%%80"
                        Expect.equal (accepted path) (if isOverlong then None else Some path) path

            testTheory
                "a path has this canonical form"
                [
                    "/", Some "/"
                    "*", Some "*"
                    "", None
                    "a", None
                    "**", None
                    "/a/../../../b", Some "/b"
                    "/a/b/..", Some "/a/"
                    "/a/.", Some "/a/"
                    "/a/%2e%2E/b", Some "/b"
                    "//a///b/", Some "/a/b/"
                    "/a/...", Some "/a/..."
                    "/.well-known/x", Some "/.well-known/x"
                    "/%61%7e%3a", Some "/a~:"
                    "/a%2fb", Some "/a%2Fb"
                    "/a%5cb", Some "/a%5Cb"
                    "/a%252e", Some "/a%252e"
                    "/caf%c3%a9", Some "/caf%C3%A9"
                    "/a[1]|b", Some "/a%5B1%5D%7Cb"
                    "/a/..;x/b", None
                    "/a/..%2fb", None
                    "/a/x%2f..", None
                    "/a%00", None
                    "/a%0d%0a", None
                    "/a%2", None
                    "/a%zz", None
                    "/a\\b", None
                    "/a?b", None
                    "/é", None
                    "/%c0%af", None
                ]
            <| fun (path, expected) -> Expect.equal (accepted path) expected path

            testTheory
                "a rule that says too little or too much is refused"
                [ "api"; "/a*b"; "/a**"; "/a%2*"; "/a?x=1"; "" ]
            <| fun text -> Expect.isError (PathRule.tryParse text) text

            testCase "reading a canonical path allocates nothing"
            <| fun () ->
                let path = "/api/v1/things/1"
                let mutable sound = true

                for _ in 1..200 do
                    sound <-
                        sound
                        && (RequestPath.canonicalise path).IsOk
                        && RequestPath.isCanonical (path.AsSpan())

                let before = GC.GetAllocatedBytesForCurrentThread()

                for _ in 1..1000 do
                    sound <-
                        sound
                        && (RequestPath.canonicalise path).IsOk
                        && RequestPath.isCanonical (path.AsSpan())

                Expect.equal (GC.GetAllocatedBytesForCurrentThread() - before) 0L "bytes allocated"
                Expect.isTrue sound "canonical"
        ]
