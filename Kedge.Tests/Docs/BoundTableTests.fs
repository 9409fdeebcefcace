/// The table of bounds names tests that exist.
module Kedge.Tests.Docs.BoundTableTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open Kedge.Tests.Core
open Kedge.Tests.Docs.Documents

/// What grows, and the lists of tests that reach its bound.
let private rows =
    [
        for line in lines "docs/security.md" |> Seq.skipWhile (fun line -> line <> "## Bounds") do
            if
                line.StartsWith "| "
                && not (line.StartsWith "| what" || line.StartsWith "| ---")
            then
                let cells = line.Trim().Trim('|').Split '|'
                cells[0].Trim(), cells[cells.Length - 1].Split(';', StringSplitOptions.TrimEntries)
    ]

[<Tests>]
let tests =
    testList
        "bounds in the documents"
        [
            test "each bound names lists of tests, and they exist" {
                Expect.isGreaterThan rows.Length 25 "the table was read"

                let sources =
                    Directory.GetFiles(SourceTree.path "Kedge.Tests", "*.fs", SearchOption.AllDirectories)
                    |> Array.filter (fun file -> not (file.Contains "/obj/"))
                    |> Array.map File.ReadAllText

                for bound, lists in rows do
                    for list in lists do
                        Expect.isNotEmpty list bound

                        Expect.exists
                            sources
                            (fun source -> Regex.IsMatch(source, $"testList\\s+\"{Regex.Escape list}\""))
                            $"{bound}: {list}"
            }
        ]
