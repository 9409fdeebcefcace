/// Laws of the errors in files that are wrong.
module Kedge.PropertyTests.FaultLaws

open System
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open System.Text.Json.Nodes
open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.SoundConfig

let private loadBoth (bytes: byte array) =
    let memory = ReadOnlyMemory bytes

    [
        ConfigFile.loadDirector "f" memory |> Result.map ignore
        ConfigFile.loadBackendPool "f" memory |> Result.map ignore
        ConfigFile.decodeDirector "f" memory |> Result.map ignore
        ConfigFile.decodeBackendPool "f" memory |> Result.map ignore
    ]

/// The file's lines, each in characters (code points); bytes that are no text count as one each.
let private lines (bytes: byte array) =
    let text = bytes.AsSpan()

    let text =
        if text.StartsWith(ReadOnlySpan [| 0xEFuy; 0xBBuy; 0xBFuy |]) then
            text.Slice 3
        else
            text

    let lengths = ResizeArray [ 0 ]

    for b in text do
        if b = 10uy then
            lengths.Add 0
        else
            lengths[lengths.Count - 1] <- lengths[lengths.Count - 1] + 1

    lengths.ToArray()

let private isWithin (lines: int array) (at: Location) =
    at.Line >= 1
    && at.Line <= lines.Length
    && at.Column >= 1
    && at.Column <= lines[at.Line - 1] + 1

let private inspect (seen: Seen) (bytes: byte array) =
    let lines = lines bytes

    for outcome in loadBoth bytes do
        match outcome with
        | Ok() -> seen.Count "no errors"
        | Error errors ->
            Expect.isNonEmpty errors "at least one"

            for error in errors do
                Expect.isTrue (isWithin lines error.At) $"{error.At} lies within the file"
                let text = ConfigError.describe error
                Expect.isFalse (text |> Seq.exists Char.IsControl) text
                Expect.stringStarts text $"f:{error.At.Line}:{error.At.Column}: $" text

            let places = errors |> List.map (fun e -> e.At.Line, e.At.Column)
            Expect.equal places (List.sort places) "in the file's order"

            match errors with
            | [ { Problem = Syntax _ } ] -> seen.Count "syntax errors"
            | errors ->
                Expect.isFalse (errors |> List.exists _.Problem.IsSyntax) "a syntax error is the only error"
                seen.Count "other errors"

let private randomBytes =
    Gen.oneof
        [
            Gen.listOf (Gen.choose (0, 255) |> Gen.map byte) |> Gen.map Array.ofList
            // What JSON is made of, in any order.
            Gen.elements
                [
                    "{"
                    "}"
                    "["
                    "]"
                    ","
                    ":"
                    "\"http\""
                    "\"routes\""
                    "null"
                    "1e9"
                    "//"
                    "/*"
                    "*/"
                    "\n"
                    "\""
                    "\\u"
                    "\\ud800"
                    "ä"
                    "-"
                    "0"
                    " "
                    "\000"
                    "\uFEFF"
                ]
            |> Gen.listOf
            |> Gen.map (String.concat "" >> Encoding.UTF8.GetBytes)
        ]

/// A valid file of which a few bytes were removed, inserted or replaced, perhaps cut off.
let private damaged =
    gen {
        let! file =
            Gen.oneof [ Gen.map Encode.director soundDirector; Gen.map Encode.backendPool soundPool ]

        let! count = Gen.choose (0, 3)

        let! edits =
            Gen.listOfLength count (Gen.zip3 (Gen.choose (0, 1_000_000)) (Gen.choose (0, 2)) (Gen.choose (0, 255)))

        let! cut =
            Gen.frequency [ (3, Gen.constant None); (1, Gen.choose (0, 1_000_000) |> Gen.map Some) ]

        let bytes = ResizeArray(Encoding.UTF8.GetBytes file)

        for place, kind, value in edits do
            if bytes.Count > 0 then
                let at = place % bytes.Count

                match kind with
                | 0 -> bytes.RemoveAt at
                | 1 -> bytes.Insert(at, byte value)
                | _ -> bytes[at] <- byte value

        let bytes = bytes.ToArray()

        return
            match cut with
            | Some cut when bytes.Length > 0 -> Array.truncate (cut % bytes.Length) bytes
            | _ -> bytes
    }

/// A fault for one route: the field that gets the value (none = the field is removed), and the text at which the error
/// must point, if not at the route itself.
type private Planted =
    {
        Field: string
        Value: string option
        /// The path after the route's.
        Path: string
        /// The text at the error's position.
        At: string
    }

let private faults =
    let value field json path at =
        {
            Field = field
            Value = Some json
            Path = path
            At = at
        }

    [
        value "host_matcher" "\"a b\"" ".host_matcher" "\"a b\""
        value "host_matcher" "\"http://a\"" ".host_matcher" "\"http://a\""
        value "host_matcher" "17" ".host_matcher" "17"
        value "port_matcher" "65536" ".port_matcher" "65536"
        value "port_matcher" "\"x\"" ".port_matcher" "\"x\""
        value "path_rules" "[\"/ok\",\"bad\"]" ".path_rules[1]" "\"bad\""
        value "path_rules" "{\"a\":1}" ".path_rules" "{"
        value "header_matcher" "{\"ok\":\"ä\",\"a b\":\"planted\"}" ".header_matcher[\"a b\"]" "\"planted\""
        value "proxy_mode" "\"NOPE\"" ".proxy_mode" "\"NOPE\""
        value "backend_name" "\"Web\"" ".backend_name" "\"Web\""
        value "backend_name" "5" ".backend_name" "5"
        value "authorization" "{\"anonymous\":true,\"any_perms\":[\"a\"]}" ".authorization.anonymous" "true"
        value "rewrite" "{\"replace_full\":\"v1\"}" ".rewrite.replace_full" "\"v1\""
        value "rewrite" "{\"reverse_location\":true}" ".rewrite.reverse_location" "true"
        value "timeouts" "{\"request\":\"1s\",\"attempt\":\"2s\"}" ".timeouts.attempt" "\"2s\""
        value "retry" "{\"attempts\":11,\"on\":[\"503\"]}" ".retry.attempts" "11"
        value "retry" "{\"attempts\":1,\"on\":[\"503\",\"404\"]}" ".retry.on[1]" "\"404\""
        value "retry" "{\"attempts\":1,\"on\":[\"503\"],\"max_body\":\"2MiB\"}" ".retry.max_body" "\"2MiB\""
        value "request_headers" "{\"set\":{\"Host\":\"x\"}}" ".request_headers.set.Host" "\"x\""
        value "zzz" "[1,{\"a\":2}]" ".zzz" "\"zzz\""
        value "backendNames" "null" ".backendNames" "\"backendNames\""
        {
            Field = "backend_name"
            Value = None
            Path = ""
            At = "{"
        }
    ]

type private PlantedFile =
    {
        Routes: (Decoded.HttpRoute * Planted option) list
        Indented: bool
    }

let private plantedFile =
    gen {
        let! routes =
            Gen.zip soundHttpRoute (Gen.frequency [ (1, Gen.constant None); (2, Gen.elements faults |> Gen.map Some) ])
            |> Gen.listOf
            |> Gen.resize 8

        let! indented = Gen.elements [ true; false ]
        return { Routes = routes; Indented = indented }
    }

let private render (file: PlantedFile) =
    let routes = JsonArray()

    for route, planted in file.Routes do
        let json = (Unchecked.nonNull (JsonNode.Parse(Encode.httpRoute route))).AsObject()

        match planted with
        | Some { Field = field; Value = Some value } -> json[field] <- JsonNode.Parse value
        | Some { Field = field; Value = None } -> json.Remove field |> ignore
        | None -> ()

        routes.Add json

    let section = JsonObject()
    section.Add("routes", routes)
    let root = JsonObject()
    root.Add("http", section)

    let options =
        JsonSerializerOptions(WriteIndented = file.Indented, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping)

    // The encoder escapes characters of four bytes; a file need not.
    root.ToJsonString(options).Replace(@"\uD834\uDD1E", "𝄞")

/// The text at a position, counted in code points.
let private textAt (json: string) (at: Location) =
    let line = json.Split('\n')[at.Line - 1]

    line.EnumerateRunes()
    |> Seq.skip (at.Column - 1)
    |> Seq.map string
    |> String.concat ""

[<Tests>]
let tests =
    testList
        "configuration errors"
        [
            Law.test
                "decoding any bytes never throws, and every error lies within the file"
                2000
                [ "syntax errors", 1000 ]
                (Arb.fromGen randomBytes)
                inspect

            Law.test
                "decoding a damaged file never throws, and every error lies within the file"
                2000
                [ "no errors", 100; "syntax errors", 500; "other errors", 500 ]
                (Arb.fromGen damaged)
                inspect

            Law.test
                "each fault of a file is reported once, at its place, and nothing else is"
                1000
                [ "sound", 20; "several faults", 300; "columns that are not bytes", 100 ]
                (Arb.fromGen plantedFile)
                (fun seen file ->
                    let json = render file
                    let memory = ReadOnlyMemory(Encoding.UTF8.GetBytes json)

                    let planted =
                        file.Routes
                        |> List.mapi (fun i (_, planted) ->
                            planted |> Option.map (fun fault -> $"$.http.routes[{i}]{fault.Path}", fault.At))
                        |> List.choose id

                    match ConfigFile.loadDirector "f" memory with
                    | Ok director ->
                        Expect.isEmpty planted json
                        Expect.equal director.Value.HttpRoutes.Length file.Routes.Length "all routes"
                        seen.Count "sound"
                    | Error errors ->
                        Expect.equal
                            (errors |> List.map (fun e -> JsonPath.render e.At.Path))
                            (List.map fst planted)
                            json

                        for error, (_, at) in List.zip errors planted do
                            Expect.stringStarts (textAt json error.At) at (ConfigError.describe error)

                        seen.When("several faults", (planted.Length > 1))
                        seen.When("columns that are not bytes", (not file.Indented && json.Contains "ä𝄞")))
        ]
