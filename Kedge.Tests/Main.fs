module Kedge.Tests.Main

open Expecto
open Kedge.Tests.Harness

[<EntryPoint>]
let main arguments =
    try
        runTestsInAssemblyWithCLIArgs [] arguments
    finally
        Shared.disposeAll ()
