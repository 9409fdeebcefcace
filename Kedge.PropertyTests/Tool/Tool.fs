/// `dotnet run --project Kedge.PropertyTests -- --config director.json`: the laws on the user's own table.
module Kedge.PropertyTests.Tool.Tool

open System
open System.IO
open Kedge.Domain
open Kedge.PropertyTests.Tool.TableLaws

let usage =
    """Checks the laws of kedge's core on your own configuration, with requests generated around its routes.

  dotnet run --project Kedge.PropertyTests -- --config director.json [--pool backendpool.json] [--cases N] [--seed S]

  --cases N   requests for each protocol [1000]
  --seed S    a number; the same gives the same requests [1]

Exits with 0 when all laws hold, 1 when one is broken or the files have errors, 2 when the arguments are wrong.
Without --config the project's own tests run, with Expecto's arguments."""

type private Arguments =
    {
        Config: string
        Pool: string
        Cases: int
        Seed: int
    }

let private number name least (text: string) =
    match Int32.TryParse text with
    | true, value when value >= least -> Ok value
    | _ -> Error $"{name}: '{text}' is not a number from {least}"

let rec private read (arguments: Arguments) (words: string list) =
    match words with
    | [] when arguments.Config = "" -> Error "--config: is missing"
    | [] -> Ok arguments
    | word :: rest when word.StartsWith "--" && word.Contains '=' ->
        let at = word.IndexOf '='
        read arguments (word.Substring(0, at) :: word.Substring(at + 1) :: rest)
    | "--config" :: file :: rest -> read { arguments with Config = file } rest
    | "--pool" :: file :: rest -> read { arguments with Pool = file } rest
    | "--cases" :: text :: rest ->
        number "--cases" 1 text
        |> Result.bind (fun cases -> read { arguments with Cases = cases } rest)
    | "--seed" :: text :: rest ->
        number "--seed" 0 text
        |> Result.bind (fun seed -> read { arguments with Seed = seed } rest)
    | word :: _ -> Error $"{word}: is not known here, or its value is missing"

let private bytes (file: string) =
    try
        Ok(ReadOnlyMemory(File.ReadAllBytes file))
    with
    | :? IOException
    | :? UnauthorizedAccessException as e -> Error [ $"{file}: {e.Message}" ]

let private load (arguments: Arguments) : Result<Subject, string list> =
    let poolBytes =
        if arguments.Pool = "" then
            Ok ReadOnlyMemory.Empty
        else
            bytes arguments.Pool

    match bytes arguments.Config, poolBytes with
    | Error errors, _
    | _, Error errors -> Error errors
    | Ok director, Ok pool ->
        let loaded = Configuration.Load(arguments.Config, director, arguments.Pool, pool)

        let orEmpty (json: ReadOnlyMemory<byte>) = if json.IsEmpty then ReadOnlyMemory "{}"B else json

        match loaded.Value with
        | null -> Error(List.ofSeq loaded.Errors)
        | configuration ->
            match
                ConfigFile.decodeDirector arguments.Config director,
                ConfigFile.decodeBackendPool arguments.Pool (orEmpty pool)
            with
            | Ok director, Ok pool ->
                Ok
                    {
                        Configuration = configuration
                        Director = director
                        Pool = pool
                    }
            | Error errors, _
            | _, Error errors -> Error(errors |> List.map ConfigError.describe)

let private report (subject: Subject) (outcomes: Outcome list) (winners: Map<string, int array>) =
    for outcome in outcomes do
        match outcome.Broken with
        | None -> printfn "holds   %6d cases  %s" outcome.Cases outcome.Law
        | Some broken -> printfn "BROKEN  case %6d  %s\n        %s" outcome.Cases outcome.Law broken

    let chosen name (routes: int) =
        let winners = winners[name]
        let matched = winners |> Array.filter (fun index -> index >= 0)

        if routes = 0 then
            None
        else
            let chosen = Array.length (Array.distinct matched)
            Some(matched.Length, $"{winners.Length} {name} requests, {matched.Length} to {chosen} of {routes} routes")

    let sides =
        [
            chosen "HTTP" subject.Configuration.Routes.Http.Count
            chosen "gRPC" subject.Configuration.Routes.Grpc.Count
        ]
        |> List.choose id

    let broken = outcomes |> List.filter _.Broken.IsSome |> List.length
    // Requests around a table of which none is taken would prove nothing.
    let vacuous = sides |> List.exists (fun (matched, _) -> matched = 0)
    let about = sides |> List.map snd |> String.concat "; "

    let verdict =
        if broken > 0 then
            $"{broken} of {outcomes.Length} laws are broken"
        elif vacuous then
            "nothing is proved, no request was taken: try more --cases"
        else
            $"all {outcomes.Length} laws hold"

    printfn "%s: %s" (if about = "" then "no routes" else about) verdict
    if broken > 0 || vacuous then 1 else 0

/// Runs the tool; yields the exit code.
let run (words: string array) : int =
    let defaults =
        {
            Config = ""
            Pool = ""
            Cases = 1000
            Seed = 1
        }

    match read defaults (List.ofArray words) with
    | Error problem ->
        eprintfn "%s\n\n%s" problem usage
        2
    | Ok arguments ->
        match load arguments with
        | Error errors ->
            List.iter (eprintfn "%s") errors
            1
        | Ok subject ->
            let outcomes, winners = TableLaws.check subject arguments.Seed arguments.Cases
            report subject outcomes winners
