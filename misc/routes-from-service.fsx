// Which routes would discovery generate for this service? Reads a Service manifest (JSON) or a list of them from
// standard input, and prints the entries of director.json and backendpool.json that dynamic discovery generates.
//
//   kubectl get service shop -o json | dotnet fsi misc/routes-from-service.fsx ext.example.com
//   kubectl get services -A -o json | dotnet fsi misc/routes-from-service.fsx ext.example.com
//   dotnet fsi misc/routes-from-service.fsx
//
// Without an argument it reads misc/samples/service.json. No cluster is involved: the core generates the entries.

#load "../Kedge.Domain/load.fsx"

open System
open System.IO
open System.Text.Json
open Kedge.Domain
open Kedge.Domain.Discovery

// 1. The external domain, and the manifest.
let suffix, manifest =
    match fsi.CommandLineArgs |> Array.skip 1 with
    | [| suffix |] -> suffix, Console.In.ReadToEnd()
    | [||] -> "ext.example.com", File.ReadAllText(Path.Combine(__SOURCE_DIRECTORY__, "samples", "service.json"))
    | _ ->
        eprintfn "usage: dotnet fsi misc/routes-from-service.fsx [external domain] < service.json"
        exit 2

// 2. The options of discovery are those of the `discovery_*` flags, with the same checks.
let options =
    match DiscoveryOptions.Create("kedge.com/", suffix, "{service}.{suffix}") with
    | Ok options -> options
    | Error errors ->
        List.iter (eprintfn "%s") errors
        exit 2

// 3. `kubectl get service NAME -o json` prints a Service, `kubectl get services -o json` a list of them.
let services =
    let document =
        try
            JsonDocument.Parse manifest
        with :? JsonException as e ->
            eprintfn "the manifest is not JSON: %s" e.Message
            exit 1

    let root = document.RootElement

    let elements =
        match root.ValueKind with
        | JsonValueKind.Object ->
            match root.TryGetProperty "items" with
            | true, items when items.ValueKind = JsonValueKind.Array -> List.ofSeq (items.EnumerateArray())
            | _ -> [ root ]
        | _ -> []

    elements
    |> List.choose (ServiceJson.read options.Prefix >> ValueOption.toOption)

// 4. Discovery considers only services with the label. Report those without it.
for service in services do
    if not (service.Labels.ContainsKey options.ExposedLabel) then
        eprintfn "service %O: has no label %s" service.Key options.ExposedLabel

// 5. Generate the entries from the state of discovery after this complete list of services, with empty files.
let generated =
    DiscoveryState.Create(options, LoadedFiles.Empty).Replace(services).Generate()

// 6. Print the entries in the format of the files, followed by the notices of discovery.
printfn "%s" (DiscoveryText.render generated)
