/// Cases found on disk: a folder each, with its input and an `expected.txt`.
module Kedge.Tests.Core.GoldenCases

open System.IO
open Expecto

/// A test for each folder in `cases`, of which there must be more than `least`. `outcome` makes of a folder the text that
/// is expected, but for blank lines at its end.
let tests (cases: string) (least: int) (outcome: string -> string) =
    let folders = Directory.GetDirectories cases |> Array.sort

    [
        test "the cases are there" { Expect.isGreaterThan folders.Length least cases }

        for folder in folders do
            testCase (string (Path.GetFileName folder)) (fun () ->
                let expected = File.ReadAllText(Path.Combine(folder, "expected.txt"))
                Expect.equal ((outcome folder).TrimEnd()) (expected.TrimEnd()) folder)
    ]
