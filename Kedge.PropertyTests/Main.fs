module Kedge.PropertyTests.Main

open Expecto

[<EntryPoint>]
let main arguments =
    match Fuzz.tryRun arguments with
    | Some exitCode -> exitCode
    | None -> runTestsInAssemblyWithCLIArgs [] arguments
