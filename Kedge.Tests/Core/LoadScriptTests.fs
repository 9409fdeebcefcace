module Kedge.Tests.Core.LoadScriptTests

open System.IO
open System.Text.RegularExpressions
open Expecto
open Kedge.Tests.Core

let private sources (file: string) (pattern: string) =
    [
        for found in Regex.Matches(File.ReadAllText(SourceTree.path file), pattern) -> found.Groups[1].Value
    ]

let private compiled () = sources "Kedge.Domain.fsproj" "<Compile Include=\"Kedge.Domain/([^\"]+)\""

/// Each folder of the core where the compile order enters it. Files at the root belong to no folder.
let private entered (files: string list) =
    files
    |> List.map Path.GetDirectoryName
    |> List.filter (fun folder -> folder <> "")
    |> List.fold
        (fun folders folder ->
            match folders with
            | last :: _ when last = folder -> folders
            | _ -> folder :: folders)
        []
    |> List.rev

[<Tests>]
let tests =
    testList
        "load.fsx"
        [
            test "loads the sources of the project in the project's order" {
                let compiled = compiled ()
                let loaded = sources "Kedge.Domain/load.fsx" "(?m)^(?:#load|     ) \"([^\"]+)\"$"
                Expect.isGreaterThan compiled.Length 10 "the project's list was found"
                Expect.equal loaded compiled "the script loads what the project compiles"
            }

            test "the compile order enters each folder once, so that a folder is a chapter" {
                let folders = entered (compiled ())
                Expect.isGreaterThan folders.Length 5 "the project's list was found"
                Expect.equal folders (List.distinct folders) "no folder is entered a second time"
            }
        ]
