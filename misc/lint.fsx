// What is wrong with a table of routes? Checks two configuration files as `kedge check` does, and adds a house rule.
//
//   dotnet fsi misc/lint.fsx
//   dotnet fsi misc/lint.fsx director.json backendpool.json
//
// Exits with 1 when there is an error. It needs no running server, only the core: add it to your CI.

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

// 2. Decode, validate and compile both. All errors are reported together, each with its location.
let bytes file = ReadOnlyMemory(File.ReadAllBytes file)
let name (file: string) = Path.GetFileName file

let loaded =
    Configuration.Load(name directorFile, bytes directorFile, name poolFile, bytes poolFile)

for error in loaded.Errors do
    printfn "%s" error

if not loaded.IsValid then
    exit 1

let configuration = loaded.Value

// 3. The analysis. A finding has its location, and requests that prove it: paste one after `kedge explain`.
let findings = Check.Findings configuration

for finding in findings do
    printfn "%s:%d: %A %s %s: %s" finding.File finding.Line finding.Severity finding.Kind finding.Path finding.Message

    for witness in finding.Witnesses do
        printfn "    %s" witness

// 4. A rule of your own is a few lines over the validated rules. This one wants a host in every HTTP route: one without
//    takes the requests of every host that comes later.
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
