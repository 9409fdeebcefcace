module Kedge.PropertyTests.GcraLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain

/// Small numbers, so that bursts are used up and buckets become empty again.
let private gcra =
    gen {
        let! limit = Gen.elements [ 1u; 2u; 3u; 7u; 100u; 999_999u; 1_000_000u ]
        let! period = Gen.elements [ 1L; 3L; 60L; 86_400L ]
        let! burst = Gen.elements [ 1u; 2u; 3u; 10u; 1000u ]
        let! replicas = Gen.elements [ 1; 2; 3; 50 ]
        return Gcra.Of(limit, TimeSpan.FromSeconds period, burst, replicas)
    }

/// Steps of time around the interval of a limit: requests at once, a little too early, in time, after a long pause.
let private steps (gcra: Gcra) =
    Gen.frequency
        [
            6, Gen.constant 0L
            2, Gen.choose64 (1L, gcra.Interval)
            1, Gen.elements [ gcra.Interval; gcra.Interval - 1L ]
            1, Gen.choose64 (gcra.Interval, gcra.Interval * 4L)
        ]

let private arrivals =
    gen {
        let! gcra = gcra
        let! steps = Gen.listOfLength 60 (steps gcra)
        let! start = Gen.choose64 (1L, 1L <<< 55)
        return gcra, List.scan (+) start steps
    }

/// The times at which requests are allowed.
let private allowed (gcra: Gcra) (times: int64 list) : int64 list =
    let mutable bucket = 0L

    [
        for now in times do
            if gcra.Wait(bucket, now) = 0L then
                bucket <- gcra.Charged(bucket, now)
                now
    ]

let private burst (gcra: Gcra) = gcra.Tolerance / gcra.Interval + 1L

/// Several limits, each with its bucket, and whether it is in shadow mode.
let private several =
    gen {
        let! now = Gen.choose64 (1L, 1L <<< 55)

        let one =
            gen {
                let! gcra = gcra
                let! shadow = Gen.elements [ false; false; true ]
                let! offset = Gen.choose64 (-gcra.Interval, gcra.Tolerance + gcra.Interval)
                return gcra, shadow, max 0L (now + offset)
            }

        let! limits = Gen.listOf one |> Gen.resize 5
        return now, limits
    }

let private ask now (limits: (Gcra * bool * int64) list) =
    let gcras = limits |> List.map (fun (gcra, _, _) -> gcra) |> List.toArray
    let shadow = limits |> List.map (fun (_, shadow, _) -> shadow) |> List.toArray
    let buckets = limits |> List.map (fun (_, _, bucket) -> bucket) |> List.toArray
    let waits = Array.zeroCreate<int64> limits.Length
    let isAllowed = Gcra.AskAll(gcras, shadow, buckets.AsSpan(), waits.AsSpan(), now)
    isAllowed, Array.toList buckets, Array.toList waits

[<Tests>]
let tests =
    testList
        "GCRA"
        [
            Law.test
                "in any window at most the burst and the rate times the window are allowed"
                500
                [ "a full window", 1000; "a refusal", 1000 ]
                (Arb.fromGen arrivals)
                (fun seen (gcra, times) ->
                    let allowed = allowed gcra times |> List.toArray
                    seen.When("a refusal", allowed.Length < times.Length)

                    for first in 0 .. allowed.Length - 1 do
                        for last in first .. allowed.Length - 1 do
                            let most = burst gcra + (allowed[last] - allowed[first]) / gcra.Interval
                            let count = int64 (last - first + 1)
                            seen.When("a full window", (count = most))
                            Expect.isLessThanOrEqual count most $"from {first} to {last}")

            Law.test
                "a caller at the steady rate is never refused, and after a pause as many as the burst may come at once"
                300
                [ "a burst of several", 100 ]
                (Arb.fromGen (Gen.zip gcra (Gen.choose64 (1L, 1L <<< 50))))
                (fun seen (gcra, start) ->
                    let steady = List.init 50 (fun i -> start + int64 i * gcra.Interval)
                    Expect.hasLength (allowed gcra steady) 50 "all at the steady rate"
                    let burst = int (burst gcra)
                    seen.When("a burst of several", burst > 1)
                    let atOnce = List.replicate (burst + 5) start
                    Expect.hasLength (allowed gcra atOnce) burst "exactly the burst")

            Law.test
                "a bucket whose time has come is like one that was never used"
                500
                [ "one that was used", 300 ]
                (Arb.fromGen arrivals)
                (fun seen (gcra, times) ->
                    let start = List.head times
                    let used = gcra.Charged(0L, start)
                    seen.When("one that was used", used > 0L)

                    for pause in [ 0L; 1L; gcra.Interval ] do
                        let now = used + pause

                        for later in times |> List.map (fun time -> time - start + now) do
                            Expect.equal (gcra.Wait(used, later)) (gcra.Wait(0L, later)) "wait"
                            Expect.equal (gcra.Charged(used, later)) (gcra.Charged(0L, later)) "after a request"
                            Expect.equal (gcra.Remaining(used, later)) (gcra.Remaining(0L, later)) "remaining")

            Law.test
                "several limits are all charged or none: a request that is refused costs nothing"
                1000
                [
                    "refused by one of several", 100
                    "allowed by several", 100
                    "beyond one in shadow", 50
                ]
                (Arb.fromGen several)
                (fun seen (now, limits) ->
                    let isAllowed, after, waits = ask now limits
                    let waitOf (gcra: Gcra, _, bucket) = gcra.Wait(bucket, now)
                    let refuses limit = waitOf limit > 0L
                    let isShadow (_, shadow, _) = shadow
                    let enforced = limits |> List.filter (not << isShadow)
                    seen.When("refused by one of several", not isAllowed && not (List.forall refuses limits))
                    seen.When("allowed by several", isAllowed && limits.Length > 1)
                    seen.When("beyond one in shadow", isAllowed && List.exists refuses limits)
                    Expect.equal waits (List.map waitOf limits) "each is asked"
                    Expect.equal isAllowed (not (List.exists refuses enforced)) "the decision"

                    for limit, now', wait in List.zip3 limits after waits do
                        let gcra, _, before = limit

                        let expected =
                            if isAllowed && wait = 0L then
                                gcra.Charged(before, now)
                            else
                                before

                        Expect.equal now' expected "the bucket")

            Law.test
                "who waits as long as was said is allowed, and a moment earlier is refused"
                1000
                [ "a wait", 200 ]
                (Arb.fromGen several)
                (fun seen (now, limits) ->
                    for gcra, _, bucket in limits do
                        let wait = gcra.Wait(bucket, now)
                        Expect.equal (gcra.Wait(bucket, now + wait)) 0L "in time"

                        if wait > 0L then
                            seen.Count "a wait"
                            Expect.equal (gcra.Wait(bucket, now + wait - 1L)) 1L "a moment earlier")

            Law.test
                "exactly as many as remain may come at once"
                500
                [ "some remain", 100; "none remains", 100 ]
                (Arb.fromGen several)
                (fun seen (now, limits) ->
                    for gcra, _, bucket in limits do
                        let remaining = gcra.Remaining(bucket, now)
                        seen.When("some remain", remaining > 0L && remaining < burst gcra)
                        seen.When("none remains", (remaining = 0L))
                        let mutable bucket = bucket
                        let mutable count = 0L

                        while gcra.Wait(bucket, now) = 0L do
                            bucket <- gcra.Charged(bucket, now)
                            count <- count + 1L

                        Expect.equal count remaining "remaining")

            Law.test
                "the shares of all replicas together are at most the limit, except for one request of each"
                500
                [ "a burst that is divided", 50 ]
                (Arb.fromGen (
                    Gen.zip
                        (Gen.choose (1, 1_000_000))
                        (Gen.zip (Gen.choose (1, 1_000_000)) (Gen.zip (Gen.choose (1, 86_400)) (Gen.choose (1, 200))))
                ))
                (fun seen (limit, (burst, (seconds, replicas))) ->
                    let period = TimeSpan.FromSeconds(int64 seconds)
                    let share = Gcra.Of(uint32 limit, period, uint32 burst, replicas)
                    let perReplica = share.Tolerance / share.Interval + 1L
                    seen.When("a burst that is divided", perReplica > 1L && replicas > 1)

                    Expect.isTrue
                        (bigint share.Interval * bigint limit
                         >= bigint period.Ticks * 100I * bigint replicas)
                        "the rate"

                    Expect.isTrue (perReplica = 1L || perReplica * int64 replicas <= int64 burst) "the burst")

            test "numbers of any size do not overflow" {
                for limit in [ 0u; 1u; UInt32.MaxValue ] do
                    for period in [ TimeSpan.Zero; TimeSpan.FromDays 1 ] do
                        for burst in [ 0u; 1u; UInt32.MaxValue ] do
                            for replicas in [ Int32.MinValue; 0; 1; Int32.MaxValue ] do
                                let gcra = Gcra.Of(limit, period, burst, replicas)
                                let now = 1L <<< 58
                                Expect.isGreaterThan gcra.Interval 0L "interval"
                                Expect.isGreaterThanOrEqual gcra.Tolerance 0L "tolerance"
                                Expect.equal (gcra.Wait(0L, now)) 0L "an unused bucket"
                                Expect.isGreaterThan (gcra.Charged(0L, now)) now "charged"
            }
        ]
