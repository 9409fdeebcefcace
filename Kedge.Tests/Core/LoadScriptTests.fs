module Kedge.Tests.Core.LoadScriptTests

open System.IO
open System.Text.RegularExpressions
open Expecto
open Kedge.Tests.Core

let private sources (file: string) (pattern: string) =
    [
        for found in Regex.Matches(File.ReadAllText(SourceTree.path file), pattern) -> found.Groups[1].Value
    ]

[<Tests>]
let tests =
    testList
        "load.fsx"
        [
            test "loads the sources of the project in the project's order" {
                let compiled =
                    sources "Kedge.Domain.fsproj" "<Compile Include=\"Kedge.Domain/([^\"]+)\""

                let loaded = sources "Kedge.Domain/load.fsx" "(?m)^(?:#load|     ) \"([^\"]+)\"$"
                Expect.isGreaterThan compiled.Length 10 "the project's list was found"
                Expect.equal loaded compiled "the script loads what the project compiles"
            }
        ]
