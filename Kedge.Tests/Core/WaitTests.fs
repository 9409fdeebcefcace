/// Waits for a fixed time in the tests' own sources: every run pays for them, so none is long.
module Kedge.Tests.Core.WaitTests

open System
open System.Globalization
open System.IO
open System.Text.RegularExpressions
open Expecto
open Kedge.Tests.Core
open Kedge.Tests.Harness

/// A wait, or a loop until a time has passed, whose time is a literal: milliseconds unless it is a `TimeSpan`.
let private wait =
    Regex(
        @"(?:\b(?:Task\.Delay|Thread\.Sleep|Async\.Sleep|Absence\.during)\b|\bElapsed\s*<)\s*\(?\s*"
        + @"(?:TimeSpan\.From(?<unit>[A-Za-z]+)\s*\(?\s*)?(?<number>[0-9][0-9_]*(?:\.[0-9]+)?)"
    )

let private time (unit: string) (number: float) =
    match unit with
    | "Days" -> TimeSpan.FromDays number
    | "Hours" -> TimeSpan.FromHours number
    | "Minutes" -> TimeSpan.FromMinutes number
    | "Seconds" -> TimeSpan.FromSeconds number
    | _ -> TimeSpan.FromMilliseconds number

/// The waits of a source: line and time.
let private waitsOf (source: string) : (int * TimeSpan) list =
    [
        for found in wait.Matches source do
            let number = found.Groups["number"].Value.Replace("_", "")

            (source.Substring(0, found.Index).Split '\n').Length,
            time found.Groups["unit"].Value (Double.Parse(number, CultureInfo.InvariantCulture))
    ]

/// Written so that this file has no such wait itself.
let private samples =
    [
        "Task.Delay", "60000", 60.0
        "Task.Delay", "(60_000, stop)", 60.0
        "Thread.Sleep", "(5001)", 5.001
        "Async.Sleep", "20", 0.02
        "Task.Delay", "(TimeSpan.FromMinutes 1.0)", 60.0
        "Task.Delay", "(\n    TimeSpan.FromSeconds(3.5))", 3.5
        "Absence.during", "(TimeSpan.FromSeconds 2.5) \"an answer\"", 2.5
        "while watch.Elapsed <", "TimeSpan.FromSeconds 30.0 do", 30.0
    ]

[<Tests>]
let tests =
    testList
        "waits in the tests"
        [
            for call, argument, seconds in samples do
                test $"{call} {argument} is found" {
                    Expect.equal
                        (waitsOf $"let a = 1\n\n    do! {call} {argument}\n")
                        [ 3, TimeSpan.FromSeconds seconds ]
                        "line and time"
                }

            test "none is longer than an absence may take" {
                let waits =
                    [
                        for file in
                            Directory.GetFiles(SourceTree.path "Kedge.Tests", "*.fs", SearchOption.AllDirectories) do
                            for line, time in waitsOf (File.ReadAllText file) do
                                $"{Path.GetRelativePath(SourceTree.root, file)}:{line}: {time.TotalSeconds} s", time
                    ]

                Expect.isGreaterThan waits.Length 10 "waits were found"

                Expect.equal
                    [
                        for place, time in waits do
                            if time > Absence.longest then
                                place
                    ]
                    []
                    "wait for a condition instead, or show the absence in less"
            }
        ]
