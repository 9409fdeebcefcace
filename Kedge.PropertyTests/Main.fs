module Kedge.PropertyTests.Main

open System
open Expecto
open Kedge.PropertyTests.Tool

/// With `--config`, the laws on the user's own configuration; with `--fuzz`, the fuzzer; otherwise the project's tests.
[<EntryPoint>]
let main arguments =
    if
        arguments
        |> Array.exists (fun word -> word = "--config" || word.StartsWith("--config=", StringComparison.Ordinal))
    then
        Tool.run arguments
    else
        match Fuzz.tryRun arguments with
        | Some exitCode -> exitCode
        | None -> runTestsInAssemblyWithCLIArgs [] arguments
