module Kedge.PropertyTests.Main

open System
open Expecto
open Kedge.PropertyTests.Tool

/// With `--config`, the laws on the user's own configuration; otherwise the project's tests.
[<EntryPoint>]
let main arguments =
    if
        arguments
        |> Array.exists (fun word -> word = "--config" || word.StartsWith("--config=", StringComparison.Ordinal))
    then
        Tool.run arguments
    else
        runTestsInAssemblyWithCLIArgs [] arguments
