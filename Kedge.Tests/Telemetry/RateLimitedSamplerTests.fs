/// How many traces the sampler lets begin, on a clock of the test's own.
module Kedge.Tests.Telemetry.RateLimitedSamplerTests

open System
open System.Diagnostics
open System.Threading
open Expecto
open Kedge.Host.Telemetry
open OpenTelemetry.Trace

/// Stands still until it is moved.
type private Clock(frequency: int64) =
    inherit TimeProvider()
    let mutable now = 12345L
    member _.Advance(ticks: int64) = Interlocked.Add(&now, ticks) |> ignore
    override _.TimestampFrequency = frequency
    override _.GetTimestamp() = Volatile.Read &now

let private nanoseconds = 1_000_000_000L

let private asks (sampler: RateLimitedSampler) =
    let parameters =
        SamplingParameters(ActivityContext(), ActivityTraceId.CreateRandom(), "request", ActivityKind.Server)

    sampler.ShouldSample(&parameters).Decision = SamplingDecision.RecordAndSample

/// How many of so many are sampled.
let private sampled (sampler: RateLimitedSampler) (count: int) =
    Seq.init count (fun _ -> asks sampler) |> Seq.filter id |> Seq.length

[<Tests>]
let tests =
    testList
        "rate limited sampler"
        [
            testCase "one second's worth at once, then one each time that one has come"
            <| fun () ->
                let clock = Clock nanoseconds
                let sampler = RateLimitedSampler(50, clock)
                Expect.equal (sampled sampler 200) 50 "at once"
                clock.Advance 19_999_999L
                Expect.equal (sampled sampler 10) 0 "just before 20 ms"
                clock.Advance 1L
                Expect.equal (sampled sampler 10) 1 "after 20 ms"
                clock.Advance 100_000_000L
                Expect.equal (sampled sampler 10) 5 "after 100 ms more"

            testCase "idleness is not saved up beyond a second"
            <| fun () ->
                let clock = Clock nanoseconds
                let sampler = RateLimitedSampler(7, clock)
                clock.Advance(3600L * nanoseconds)
                Expect.equal (sampled sampler 100) 7 "after an hour"

            testCase "zero: none, ever"
            <| fun () ->
                let clock = Clock nanoseconds
                let sampler = RateLimitedSampler(0, clock)

                for _ in 1..100 do
                    Expect.isFalse (asks sampler) "sampled"
                    clock.Advance nanoseconds

            testCase "never more than the limit, and as many when enough ask"
            <| fun () ->
                for frequency in [ 1_000L; 10_000_000L; nanoseconds ] do
                    for limit in [ 1; 3; 7; 50; 999 ] do
                        let clock = Clock frequency
                        let sampler = RateLimitedSampler(limit, clock)
                        let random = Random(limit)
                        let mutable elapsed = 0L
                        let mutable total = 0

                        for _ in 1..200 do
                            total <- total + sampled sampler (2 * limit)
                            // total ≤ limit × (seconds + 1), in whole ticks
                            Expect.isLessThanOrEqual
                                (int64 total * frequency)
                                (int64 limit * (elapsed + frequency))
                                $"{limit} at {frequency} Hz"

                            let step = random.NextInt64(frequency / 2L)
                            clock.Advance step
                            elapsed <- elapsed + step

                        // One that holds a single token may be full while nobody asks. A token takes whole ticks of the
                        // clock to come: at 1 kHz, 999 a second come as 500.
                        if limit > 1 then
                            let perToken = (frequency + int64 limit - 1L) / int64 limit
                            Expect.isGreaterThanOrEqual (int64 total) (elapsed / perToken) $"{limit} at {frequency} Hz"

            testCase "however many ask at once"
            <| fun () ->
                let clock = Clock nanoseconds
                let sampler = RateLimitedSampler(1000, clock)
                let total = ref 0
                // A second goes by when all of them are there.
                use together = new Barrier(8, (fun _ -> clock.Advance nanoseconds))

                let threads =
                    [
                        for _ in 1..8 do
                            let thread =
                                Thread(fun () ->
                                    for _ in 1..20 do
                                        together.SignalAndWait()
                                        Interlocked.Add(&total.contents, sampled sampler 1000) |> ignore)

                            thread.Start()
                            thread
                    ]

                threads |> List.iter _.Join()
                Expect.equal total.Value 20_000 "in all"

            testCase "a limit below zero is refused"
            <| fun () ->
                Expect.throwsT<ArgumentOutOfRangeException>
                    (fun () -> RateLimitedSampler(-1, Clock nanoseconds) |> ignore)
                    "negative"
        ]
