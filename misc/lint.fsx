// Lints two configuration files: checks them as `kedge check` does, and adds a rule of our own.
//
//   dotnet fsi misc/lint.fsx
//   dotnet fsi misc/lint.fsx director.json backendpool.json
//
// Exits with 1 if there are errors. It starts no server and needs only the core, so you can use it in your CI.

#load "../Kedge.Domain/load.fsx"

open System
open System.IO
open Kedge.Domain

// 1. The files, from the command line or the samples.
let sample name = Path.Combine(__SOURCE_DIRECTORY__, "samples", name)

let directorFile, poolFile =
    match fsi.CommandLineArgs |> Array.skip 1 with
    | [| director; pool |] -> director, pool
    | [||] -> sample "director.json", sample "backendpool.json"
    | _ ->
        eprintfn "usage: dotnet fsi misc/lint.fsx [director.json backendpool.json]"
        exit 2

// 2. Decode, validate and compile both. All errors are reported together, each with its position.
let bytes file = ReadOnlyMemory(File.ReadAllBytes file)
let name (file: string) = Path.GetFileName file

let loaded =
    Configuration.Load(name directorFile, bytes directorFile, name poolFile, bytes poolFile)

for error in loaded.Errors do
    printfn "%s" error

if not loaded.IsValid then
    exit 1

let configuration = loaded.Value

// 3. Analyse. Each finding has its position and requests that demonstrate it, as arguments for `kedge explain`.
let findings = Check.Findings configuration

for finding in findings do
    printfn "%s:%d: %A %s %s: %s" finding.File finding.Line finding.Severity finding.Kind finding.Path finding.Message

    for witness in finding.Witnesses do
        printfn "    %s" witness

// 4. A rule of your own is a few lines over the validated rules. This one requires a host in every HTTP route: a route
//    without a host takes the requests of all hosts in later routes.
let withoutHost =
    configuration.Director.HttpRoutes
    |> Array.indexed
    |> Array.filter (fun (_, route) -> route.Host = AnyHost)

for index, route in withoutHost do
    let place =
        configuration.DirectorSource.Locate [ Field "http"; Field "routes"; Step.Index index ]

    printfn "%s:%d: house rule: a route for any host (%s)" place.File place.Line route.Text

let errors =
    findings
    |> Seq.filter (fun finding -> finding.Severity = Severity.Error)
    |> Seq.length

printfn "%d findings, %d of them errors; %d routes for any host" findings.Count errors withoutHost.Length
exit (if errors > 0 then 1 else 0)
