module Kedge.Tests.Main

open System
open Expecto
open Kedge.Tests.Harness

[<EntryPoint>]
let main arguments =
    let code =
        try
            // Two for each core: most tests wait, for a process to start or for a time limit.
            runTestsInAssemblyWithCLIArgs [ Parallel_Workers(2 * Environment.ProcessorCount) ] arguments
        finally
            Shared.disposeAll ()

    // Only now every kedge has said all that it will say.
    match Secrets.found () with
    | [||] -> code
    | leaks ->
        eprintfn "%d secrets were told:" leaks.Length
        leaks |> Array.iter (eprintfn "%s")
        max code 1
