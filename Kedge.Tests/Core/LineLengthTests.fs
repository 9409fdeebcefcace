/// C# has no analyzer for the line length that .editorconfig sets, as Fantomas is one for F#.
module Kedge.Tests.Core.LineLengthTests

open System.IO
open Expecto
open Kedge.Tests.Core

let private limit = 120

let private projects =
    [
        "Kedge.Host"
        "Kedge.Wire"
        "Kedge.Client"
        "Kedge.Winch"
        "Kedge.Benchmarks"
        "bench"
    ]

/// The numbers of the lines that are too long, from 1. The lines of raw string literals count as text, not code.
let private tooLong (lines: string array) =
    let mutable isRaw = false

    [
        for index, line in Array.indexed lines do
            let wasRaw = isRaw

            if (line.Split "\"\"\"").Length % 2 = 0 then
                isRaw <- not isRaw

            if line.Length > limit && not (wasRaw || isRaw) then
                index + 1
    ]

[<Tests>]
let tests =
    testList
        "line length"
        [
            test "a long line is found, but not in a raw string literal" {
                let long = String.replicate (limit + 1) "x"
                Expect.equal (tooLong [| "x"; long; "\"\"\""; long; "\"\"\""; long |]) [ 2; 6 ] "lines"
            }

            test $"lines of C# have at most {limit} columns" {
                let files =
                    [
                        for project in projects do
                            for file in Directory.GetFiles(SourceTree.path project, "*.cs", SearchOption.AllDirectories) do
                                Path.GetRelativePath(SourceTree.root, file)
                    ]

                Expect.isGreaterThan files.Length 100 "the files were found"

                let found =
                    [
                        for file in files do
                            for number in tooLong (File.ReadAllLines(SourceTree.path file)) do
                                $"{file}:{number}"
                    ]

                Expect.equal found [] "lines that are too long"
            }
        ]
