// Which requests would a change move? Replays a log of requests against two versions of the routes, and prints the
// share of requests that go elsewhere, with examples.
//
//   dotnet fsi misc/replay.fsx
//   dotnet fsi misc/replay.fsx old/director.json new/director.json requests.log
//
// A line of the log is a method, a URL and any headers, separated by tabs:
//
//   GET     https://web.example.com/api/users     x-env: canary
//
// `kedge diff` finds every request that *could* move. This script shows how many of your requests do.

#load "../Kedge.Domain/load.fsx"

open System
open System.IO
open Kedge.Domain

// 1. Two versions of the routes and a log, from the command line or the samples.
let sample name = Path.Combine(__SOURCE_DIRECTORY__, "samples", name)

let oldFile, newFile, logFile =
    match fsi.CommandLineArgs |> Array.skip 1 with
    | [| before; after; log |] -> before, after, log
    | [||] -> sample "director.json", sample "director-next.json", sample "requests.log"
    | _ ->
        eprintfn "usage: dotnet fsi misc/replay.fsx [old.json new.json requests.log]"
        exit 2

// 2. Load the routes without a pool: where a request goes does not depend on the endpoints of the backends.
let load (file: string) =
    let loaded =
        Configuration.Load(Path.GetFileName file, ReadOnlyMemory(File.ReadAllBytes file), "", ReadOnlyMemory.Empty)

    if not loaded.IsValid then
        loaded.Errors |> Seq.iter (eprintfn "%s")
        exit 1

    loaded.Value

// 3. Where does a request go? The compiled tables decide, as in the proxy; if no route matches, the ad-hoc rules do.
let destination (configuration: Configuration) =
    let http = RouteSemantics.http.Winner configuration.Director.HttpRoutes
    let grpc = RouteSemantics.grpc.Winner configuration.Director.GrpcRoutes

    let adhoc decision =
        match decision with
        | Target(_, name, port) -> sprintf "%s:%d" name port
        | NoRule -> "nowhere"
        | PortNotAllowed _
        | PatternAbsent _
        | NotAName _ -> "refused"

    fun request ->
        match request with
        | Http request ->
            match http request with
            | -1 -> adhoc (configuration.DecideAdhoc(Protocol.Http, request.Host, request.Ports))
            | route -> configuration.Routes.Http[route].ActionText
        | Grpc call ->
            match grpc call with
            | -1 -> adhoc (configuration.DecideAdhoc(Protocol.Grpc, call.Host, call.Ports))
            | route -> configuration.Routes.Grpc[route].ActionText

// 4. Read the log. Lines that are not requests are reported and skipped.
let requests =
    [
        for number, line in Seq.indexed (File.ReadLines logFile) do
            if line.Trim() <> "" && not (line.StartsWith '#') then
                match line.Split '\t' |> Array.toList with
                | method :: url :: headers ->
                    match RequestText.parse (method, url, headers, false, false) with
                    | Ok request -> request
                    | Error problem -> eprintfn "%s:%d: %s" logFile (number + 1) problem
                | _ -> eprintfn "%s:%d: expected a method and a URL" logFile (number + 1)
    ]

// 5. Replay, and count what moves from where to where.
let before = destination (load oldFile)
let after = destination (load newFile)

let moves =
    requests
    |> List.map (fun request -> before request, after request, request)
    |> List.filter (fun (was, now, _) -> was <> now)
    |> List.groupBy (fun (was, now, _) -> was, now)
    |> List.sortByDescending (fun (_, moved) -> moved.Length)

let percent count = 100.0 * float count / float (max 1 requests.Length)
let moved = moves |> List.sumBy (fun (_, moved) -> moved.Length)
printfn "%d requests, %.1f%% go elsewhere" requests.Length (percent moved)

for (was, now), moved in moves do
    printfn "%5.1f%%  %s -> %s" (percent moved.Length) was now

    for _, _, request in List.truncate 3 moved do
        printfn "          %s" (RequestText.render request)
