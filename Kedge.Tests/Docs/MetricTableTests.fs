/// The table of metrics in docs/operation.md is what a real kedge exposes, no more and no less.
module Kedge.Tests.Docs.MetricTableTests

open System
open System.Text.RegularExpressions
open Expecto
open Kedge.Tests.Deploy
open Kedge.Tests.Docs.Documents
open Kedge.Tests.Harness

/// Each metric of the table with its labels. What stands in brackets tells of values and meanings.
let private documented =
    [
        for line in lines "docs/operation.md" do
            let cells = line.Split '|'

            if cells.Length = 4 && cells[1].TrimStart().StartsWith "`" then
                let codes (cell: string) =
                    [
                        for found in Regex.Matches(Regex.Replace(cell, @"\([^)]*\)", ""), "`([a-z_]+)`") do
                            found.Groups[1].Value
                    ]

                for metric in codes cells[1] do
                    metric, set (codes cells[2])
    ]

[<Tests>]
let tests =
    testList
        "metrics in the documents"
        [
            case "the table has every metric with its labels, and no other" (fun () ->
                task {
                    let! exposed = MonitoringTests.exposed.Value
                    Expect.isGreaterThan documented.Length 20 "the table was read"

                    let family (name: string) = Regex.Replace(name, "_(bucket|sum|count)$", "")

                    let real =
                        exposed
                        |> Map.toList
                        |> List.groupBy (fst >> family)
                        |> List.map (fun (name, series) -> name, (series |> List.map snd |> Set.unionMany).Remove "le")

                    let shown =
                        List.map (fun (name, labels) -> name + " " + String.Join(",", Set.toList labels))

                    Expect.equal (List.sort (shown documented)) (List.sort (shown real)) "the same"
                })
        ]
