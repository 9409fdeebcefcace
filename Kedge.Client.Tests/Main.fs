module Kedge.Client.Tests.Main

open Expecto
open Kedge.Tests.Harness

[<EntryPoint>]
let main arguments =
    let code =
        try
            runTestsInAssemblyWithCLIArgs [] arguments
        finally
            Shared.disposeAll ()

    match Secrets.found () with
    | [||] -> code
    | leaks ->
        eprintfn "%d secrets were printed:" leaks.Length
        leaks |> Array.iter (eprintfn "%s")
        max code 1
