/// Each folder of testassets/discovery is a case: in services.json, or services-1.json and so on, the full lists that
/// discovery gets one after the other; perhaps the files beside which it works, and its options. In expected.txt is what
/// `kedge discover` prints of the last list.
module Kedge.Tests.Core.DiscoveryGoldenTests

open System
open System.IO
open System.Text.Json
open Expecto
open Kedge.Domain
open Kedge.Domain.Discovery
open Kedge.Tests.Core

let private cases = SourceTree.path "Kedge.Tests/testassets/discovery"

let private sound =
    function
    | Ok value -> value
    | Error error -> failtestf "unsound: %A" error

let private outcome (folder: string) =
    let bytes name fallback =
        let file = Path.Combine(folder, name)

        if File.Exists file then
            ReadOnlyMemory(File.ReadAllBytes file)
        else
            ReadOnlyMemory(Text.Encoding.UTF8.GetBytes(fallback: string))

    let options =
        let given =
            JsonSerializer.Deserialize<Map<string, string>>(
                (bytes
                    "options.json"
                    """{ "prefix": "kedge.com/", "suffix": "ext.example.com", "template": "{service}.{suffix}" }""")
                    .Span
            )

        match given with
        | null -> failtest "no options"
        | given ->
            DiscoveryOptions.Create(given["prefix"], given["suffix"], given["template"])
            |> sound

    let loaded =
        LoadedFiles.Load("director.json", bytes "director.json" "{}", "backendpool.json", bytes "backendpool.json" "{}")

    let files =
        match loaded.Value with
        | null -> failtestf "unsound: %A" (List.ofSeq loaded.Errors)
        | files -> files

    let lists =
        Directory.GetFiles(folder, "services*.json")
        |> Array.sort
        |> Array.map (fun file ->
            use document = JsonDocument.Parse(File.ReadAllText file)

            [
                for item in document.RootElement.GetProperty("items").EnumerateArray() do
                    match ServiceJson.read options.Prefix item with
                    | ValueSome service -> service
                    | ValueNone -> failtestf "no service in %s" file
            ])

    let state =
        (DiscoveryState.Create(options, files), lists)
        ||> Array.fold (fun state services -> state.Replace services)

    DiscoveryText.render (state.Generate())

[<Tests>]
let tests = testList "discovery cases" [ yield! GoldenCases.tests cases 15 outcome ]
