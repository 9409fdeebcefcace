/// Laws of decoding and encoding.
module Kedge.PropertyTests.ConfigJsonLaws

open System
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open System.Text.Json.Nodes
open System.Text.RegularExpressions
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.ConfigGenerators

let private bytes (text: string) = ReadOnlyMemory(Encoding.UTF8.GetBytes text)

let private ok (result: Result<'value, ConfigError list>) =
    match result with
    | Ok value -> value
    | Error errors -> failtestf "%s" (errors |> List.map ConfigError.describe |> String.concat "\n")

let private decodeDirector (text: string) = ConfigFile.decodeDirector "d.json" (bytes text)

let private decodePool (text: string) = ConfigFile.decodeBackendPool "b.json" (bytes text)

/// The keys of these objects are data.
let private maps = set [ "header_matcher"; "metadata_matcher" ]

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
                (Arb.fromGen anyDirector)
                (fun tally director ->
                    Expect.equal (ok (decodeDirector (Encode.director director))) director "the same"
                    tally.CountIf (director.HttpRoutes.Length > 1) "two HTTP routes or more"
                    tally.CountIf (not director.GrpcAdhocRules.IsEmpty) "ad-hoc rules")
                (fun tally ->
                    tally.Expect 50 "two HTTP routes or more"
                    tally.Expect 50 "ad-hoc rules")

            Law.test
                "decoding an encoded backend pool gives it back"
                400
                (Arb.fromGen anyPool)
                (fun tally pool ->
                    Expect.equal (ok (decodePool (Encode.backendPool pool))) pool "the same"
                    tally.CountIf (pool.GrpcBackends |> List.exists _.HealthCheck.IsSome) "health checks"
                    tally.CountIf (pool.HttpBackends |> List.exists _.Security.IsSome) "security")
                (fun tally ->
                    tally.Expect 50 "health checks"
                    tally.Expect 50 "security")

            Law.test
                "snake_case and lowerCamelCase mean the same, field by field"
                200
                (Arb.fromGen (
                    gen {
                        let! turns = Gen.elements [ true; false ] |> Gen.listOfLength 200
                        let! director = anyDirector
                        return { Turns = turns; Director = director }
                    }
                ))
                (fun tally shape ->
                    let mutable at = 0

                    let turn () =
                        at <- at + 1
                        shape.Turns[at % shape.Turns.Length]

                    let json = Encode.director shape.Director
                    let respelled = respell turn json
                    Expect.equal (ok (decodeDirector respelled)) shape.Director respelled
                    tally.CountIf (respelled.Contains "backendName") "camel case"
                    tally.CountIf (respelled.Contains "backend_name") "snake case")
                (fun tally ->
                    tally.Expect 40 "camel case"
                    tally.Expect 40 "snake case")

            Law.test
                "comments, trailing commas, line ends and a byte order mark mean nothing"
                200
                (Arb.fromGen anyPool)
                (fun tally pool ->
                    let dressed = redress (Encode.backendPool pool)
                    Expect.equal (ok (decodePool dressed)) pool dressed
                    tally.CountIf (Regex.IsMatch(dressed, ",[^\n\"{]*// \\{ comment ä\r\n\\s*\\]")) "trailing commas")
                (fun tally -> tally.Expect 20 "trailing commas")

            Law.test
                "a number means the same in each way to write it"
                300
                (Arb.fromGen (Gen.zip (Gen.choose (0, 65535)) (Gen.choose (0, 6))))
                (fun tally (port, zeros) ->
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

                    tally.CountIf (port > 0) "a port")
                (fun tally -> tally.Expect 200 "a port")

            Law.test
                "a duration is the sum of its parts"
                300
                (Arb.fromGen (Gen.listOfLength 4 (Gen.choose (0, 999))))
                (fun tally parts ->
                    let text =
                        String.concat "" (List.map2 (sprintf "%d%s") parts [ "h"; "m"; "s"; "ms" ])

                    let expected = TimeSpan(0, parts[0], parts[1], parts[2], parts[3])

                    let json =
                        $"""{{"http":{{"backends":[{{"name":"web","k8s":{{}},"health_check":{{"interval":"{text}"}}}}]}}}}"""

                    let check = (ok (decodePool json)).HttpBackends.Head.HealthCheck
                    Expect.equal (check |> Option.map _.Interval) (Some expected) text
                    tally.CountIf (expected > TimeSpan.FromHours 1.0) "hours")
                (fun tally -> tally.Expect 200 "hours")

            Law.test
                "a field name with one slip in it is recognised"
                300
                (Arb.fromGen (
                    Gen.zip3
                        (Gen.elements [ "backend_name"; "host_matcher"; "path_rules"; "proxy_mode"; "authorization" ])
                        (Gen.choose (0, 8))
                        (Gen.choose (0, 3))
                ))
                (fun tally (name, at, kind) ->
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
                            tally.Count "suggested"
                        | other -> failtestf "%s: %A" slipped other)
                (fun tally -> tally.Expect 200 "suggested")
        ]
