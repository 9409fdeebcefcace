/// Laws of durations in Go's notation.
module Kedge.PropertyTests.DurationLaws

open System
open System.Numerics
open System.Text.RegularExpressions
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private read (text: string) =
    match Duration.TryParse text with
    | true, duration -> Some duration
    | false, _ -> None

let private part =
    Regex(@"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", RegexOptions.CultureInvariant)

let private whole =
    Regex(@"\A[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)\z", RegexOptions.CultureInvariant)

let private tooLong = Regex(@"[0-9.]{21}", RegexOptions.CultureInvariant)

let private nanoseconds =
    Map
        [
            "ns", 1L
            "us", 1_000L
            "µs", 1_000L
            "μs", 1_000L
            "ms", 1_000_000L
            "s", 1_000_000_000L
            "m", 60_000_000_000L
            "h", 3_600_000_000_000L
        ]

/// Another reader of the same notation, in whole numbers: each part is counted in 10^-20 ns.
let private oracle (text: string) : TimeSpan option =
    let scale = BigInteger.Pow(10I, 20)

    if not (whole.IsMatch text) || tooLong.IsMatch text then
        None
    else
        let total =
            part.Matches text
            |> Seq.sumBy (fun found ->
                let fraction = found.Groups[2].Value

                BigInteger.Parse("0" + found.Groups[1].Value + fraction) * scale
                / BigInteger.Pow(10I, fraction.Length)
                * BigInteger nanoseconds[found.Groups[3].Value])

        let ticks = total / (scale * 100I)

        if total > BigInteger Int64.MaxValue * scale * 100I then
            None
        else
            Some(TimeSpan.FromTicks(int64 ticks * (if text.StartsWith '-' then -1L else 1L)))

let private texts =
    Generators.textAfter
        [ ""; "-"; "+" ]
        [
            "0"
            "1"
            "7"
            "30"
            "500"
            "2562047"
            "9999999999"
            "."
            "ns"
            "us"
            "µs"
            "μs"
            "ms"
            "s"
            "m"
            "h"
            "1s"
            "1.5h"
            "90m"
            ".25s"
            "d"
            " "
            "-"
            "e3s"
        ]

let private durations =
    Gen.frequency
        [
            1, Gen.elements [ TimeSpan.Zero; TimeSpan.MaxValue; TimeSpan.FromTicks(Int64.MinValue + 1L) ]
            4,
            Gen.zip
                (Gen.choose (-1000, 1000))
                (Gen.elements [ 1L; 10L; 9_999L; 10_000_000L; 600_000_000L; 864_000_000_001L ])
            |> Gen.map (fun (count, unit) -> TimeSpan.FromTicks(int64 count * unit))
        ]
    |> Arb.fromGen

[<Tests>]
let tests =
    testList
        "durations"
        [
            Law.test
                "reading a duration agrees with its grammar"
                20_000
                [ "accepted", 1000; "rejected", 5000; "negative", 200; "out of range", 10 ]
                texts
                (fun seen text ->
                    let expected = oracle text
                    seen.Count(if expected.IsSome then "accepted" else "rejected")
                    seen.When("negative", (expected |> Option.exists (fun duration -> duration < TimeSpan.Zero)))
                    seen.When("out of range", (expected.IsNone && whole.IsMatch text && not (tooLong.IsMatch text)))
                    Expect.equal (read text) expected text)

            Law.test
                "a duration that is written is read as itself"
                5_000
                [ "negative", 500; "hours", 500; "below a millisecond", 500 ]
                durations
                (fun seen duration ->
                    seen.When("negative", (duration < TimeSpan.Zero))
                    seen.When("hours", (duration > TimeSpan.FromHours 1.0))
                    seen.When("below a millisecond", (duration.Duration() < TimeSpan.FromMilliseconds 1.0))
                    Expect.equal (read (Duration.Format duration)) (Some duration) (Duration.Format duration))

            testTheory
                "a duration is written as Go does"
                [
                    0L, "0s"
                    1L, "0.1µs"
                    3_000_000L, "300ms"
                    15_000_000L, "1.5s"
                    900_000_000L, "1m30s"
                    36_000_000_000L, "1h"
                    -400_000_000L, "-40s"
                ]
            <| fun (ticks, text) -> Expect.equal (Duration.Format(TimeSpan.FromTicks ticks)) text text
        ]
