module Kedge.Tests.Main

open Expecto
open Kedge.Tests.Harness

[<EntryPoint>]
let main arguments =
    let code =
        try
            runTestsInAssemblyWithCLIArgs [] arguments
        finally
            Shared.disposeAll ()

    // Only now every kedge has said all that it will say.
    match Secrets.found () with
    | [||] -> code
    | leaks ->
        eprintfn "%d secrets were told:" leaks.Length
        leaks |> Array.iter (eprintfn "%s")
        max code 1
