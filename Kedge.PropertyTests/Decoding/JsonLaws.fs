/// Laws of decoding and encoding.
module Kedge.PropertyTests.JsonLaws

open System
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open System.Text.Json.Nodes
open System.Text.RegularExpressions
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.ArbitraryConfig

let private bytes (text: string) = ReadOnlyMemory(Encoding.UTF8.GetBytes text)

let private ok (result: Result<'value, ConfigError list>) =
    match result with
    | Ok value -> value
    | Error errors -> failtestf "%s" (errors |> List.map ConfigError.describe |> String.concat "\n")

let private decodeDirector (text: string) = ConfigFile.decodeDirector "d.json" (bytes text)

let private decodePool (text: string) = ConfigFile.decodeBackendPool "b.json" (bytes text)

/// The keys of these objects are data.
let private maps = set [ "header_matcher"; "metadata_matcher"; "query_matcher" ]

let private camel (name: string) =
    Regex.Replace(name, "_([a-z0-9])", (fun (found: Match) -> found.Groups[1].Value.ToUpperInvariant()))

/// The same file with the fields in the other spelling whose turn it is.
let private respell (turn: unit -> bool) (json: string) =
    let rec walk (isMap: bool) (node: JsonNode | null) : JsonNode | null =
        match node with
        | :? JsonObject as fields ->
            let respelled = JsonObject()

            for KeyValue(name, value) in fields do
                let other = if not isMap && turn () then camel name else name
                respelled.Add(other, walk (maps.Contains name) value)

            respelled
        | :? JsonArray as items ->
            let respelled = JsonArray()

            for item in items do
                respelled.Add(walk false item)

            respelled
        | null -> null
        | node -> node.DeepClone()

    match walk false (JsonNode.Parse json) with
    | null -> "null"
    | root -> root.ToJsonString(JsonSerializerOptions(Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping))

/// The same file with comments, trailing commas, other line ends and a byte order mark.
let private redress (json: string) =
    let commas = Regex.Replace(json, "(?<=[^\\[{,\\s])\n(\\s*[\\]}])", ",\n$1")
    "\uFEFF/* \"a\": [ */" + commas.Replace("\n", " // { comment ä\r\n\t")

type private Shape =
    {
        Turns: bool list
        Director: Decoded.Director
    }

[<Tests>]
let tests =
    testList
        "configuration JSON"
        [
            Law.test
                "decoding an encoded director gives it back"
                400
                [ "two HTTP routes or more", 50; "ad-hoc rules", 50 ]
                (Arb.fromGen anyDirector)
                (fun seen director ->
                    Expect.equal (ok (decodeDirector (Encode.director director))) director "the same"
                    seen.When("two HTTP routes or more", (director.HttpRoutes.Length > 1))
                    seen.When("ad-hoc rules", (not director.AdhocRules.Grpc.IsEmpty)))

            Law.test
                "decoding an encoded backend pool gives it back"
                400
                [ "health checks", 50; "security", 50 ]
                (Arb.fromGen anyPool)
                (fun seen pool ->
                    Expect.equal (ok (decodePool (Encode.backendPool pool))) pool "the same"
                    seen.When("health checks", (pool.Backends.Grpc |> List.exists _.HealthCheck.IsSome))
                    seen.When("security", (pool.Backends.Http |> List.exists _.Security.IsSome)))

            Law.test
                "snake_case and lowerCamelCase mean the same, field by field"
                200
                [ "camel case", 40; "snake case", 40 ]
                (Arb.fromGen (
                    gen {
                        let! turns = Gen.elements [ true; false ] |> Gen.listOfLength 200
                        let! director = anyDirector
                        return { Turns = turns; Director = director }
                    }
                ))
                (fun seen shape ->
                    let mutable at = 0

                    let turn () =
                        at <- at + 1
                        shape.Turns[at % shape.Turns.Length]

                    let json = Encode.director shape.Director
                    let respelled = respell turn json
                    Expect.equal (ok (decodeDirector respelled)) shape.Director respelled
                    seen.When("camel case", (respelled.Contains "backendName"))
                    seen.When("snake case", (respelled.Contains "backend_name")))

            Law.test
                "comments, trailing commas, line ends and a byte order mark mean nothing"
                200
                [ "trailing commas", 20 ]
                (Arb.fromGen anyPool)
                (fun seen pool ->
                    let dressed = redress (Encode.backendPool pool)
                    Expect.equal (ok (decodePool dressed)) pool dressed
                    seen.When("trailing commas", (Regex.IsMatch(dressed, ",[^\n\"{]*// \\{ comment ä\r\n\\s*\\]"))))

            Law.test
                "a number means the same in each way to write it"
                300
                [ "a port", 200 ]
                (Arb.fromGen (Gen.zip (Gen.choose (0, 65535)) (Gen.choose (0, 6))))
                (fun seen (port, zeros) ->
                    let spellings =
                        [
                            string port
                            $"{port}." + String('0', zeros + 1)
                            $"{port}e0"
                            $"{port}{String('0', zeros)}E-{zeros}"
                            $"0.{String('0', zeros)}{port}e+{zeros + (string port).Length}"
                        ]

                    for spelling in spellings @ List.map (sprintf "\"%s\"") spellings do
                        let json =
                            $"{{\"http\":{{\"routes\":[{{\"backend_name\":\"web\",\"port_matcher\":{spelling}}}]}}}}"

                        Expect.equal (ok (decodeDirector json)).HttpRoutes.Head.PortMatcher (uint32 port) spelling

                    seen.When("a port", (port > 0)))

            Law.test
                "a duration is the sum of its parts"
                300
                [ "hours", 200 ]
                (Arb.fromGen (Gen.listOfLength 4 (Gen.choose (0, 999))))
                (fun seen parts ->
                    let text =
                        String.concat "" (List.map2 (sprintf "%d%s") parts [ "h"; "m"; "s"; "ms" ])

                    let expected = TimeSpan(0, parts[0], parts[1], parts[2], parts[3])

                    let json =
                        $"""{{"http":{{"backends":[{{"name":"web","k8s":{{}},"health_check":{{"interval":"{text}"}}}}]}}}}"""

                    let check = (ok (decodePool json)).Backends.Http.Head.HealthCheck
                    Expect.equal (check |> Option.map _.Interval) (Some expected) text
                    seen.When("hours", (expected > TimeSpan.FromHours 1.0)))

            Law.test
                "a field name with one typing error is recognised"
                300
                [ "suggested", 200 ]
                (Arb.fromGen (
                    Gen.zip3
                        (Gen.elements [ "backend_name"; "host_matcher"; "path_rules"; "proxy_mode"; "authorization" ])
                        (Gen.choose (0, 8))
                        (Gen.choose (0, 3))
                ))
                (fun seen (name, at, kind) ->
                    let slipped =
                        match kind with
                        | 0 -> name.Remove(at, 1)
                        | 1 -> name.Insert(at, "q")
                        | 2 -> name.Remove(at, 1).Insert(at, "q")
                        | _ ->
                            name.Substring(0, at)
                            + string name[at + 1]
                            + string name[at]
                            + name.Substring(at + 2)

                    let json = $"{{\"http\":{{\"routes\":[{{\"{slipped}\":null}}]}}}}"

                    if slipped <> name then
                        match decodeDirector json with
                        | Error [ {
                                      Problem = UnknownField(_, Some suggested)
                                  } ] ->
                            Expect.equal suggested name slipped
                            seen.Count "suggested"
                        | other -> failtestf "%s: %A" slipped other)
        ]
