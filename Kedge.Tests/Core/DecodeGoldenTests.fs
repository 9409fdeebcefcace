/// Each folder of testassets/decode is a case: a director.json or backendpool.json, and in expected.txt what must come of
/// it: its errors, a line for each, or the decoded file as it is encoded again.
module Kedge.Tests.Core.DecodeGoldenTests

open System
open System.IO
open Expecto
open Kedge.Domain
open Kedge.Tests.Core

let private cases = SourceTree.path "Kedge.Tests/testassets/decode"

let private outcome (folder: string) =
    let read name decode load encode =
        let json = ReadOnlyMemory(File.ReadAllBytes(Path.Combine(folder, name)))

        match load name json with
        | Error errors -> errors |> List.map ConfigError.describe |> String.concat "\n"
        | Ok _ ->
            match decode name json with
            | Ok decoded -> encode decoded
            | Error errors -> failtestf "loads, but does not decode: %A" errors

    if File.Exists(Path.Combine(folder, "director.json")) then
        read "director.json" ConfigFile.decodeDirector ConfigFile.loadDirector Encode.director
    else
        read "backendpool.json" ConfigFile.decodeBackendPool ConfigFile.loadBackendPool Encode.backendPool

[<Tests>]
let tests =
    testList
        "decoding cases"
        [
            yield! GoldenCases.tests cases 20 outcome

            for sample, load in
                [
                    "misc/director.json", (fun json -> ConfigFile.loadDirector "d" json |> Result.map ignore)
                    "misc/backendpool.json", (fun json -> ConfigFile.loadBackendPool "b" json |> Result.map ignore)
                ] do
                test $"the sample {sample} is sound" {
                    let json = ReadOnlyMemory(File.ReadAllBytes(SourceTree.path sample))
                    Expect.equal (load json) (Ok()) "no errors"
                }
        ]
