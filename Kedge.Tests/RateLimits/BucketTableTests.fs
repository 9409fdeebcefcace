/// The buckets of a rate limit: a table of a fixed size, whatever callers send.
module Kedge.Tests.RateLimits.BucketTableTests

open System
open System.Collections.Generic
open Expecto
open Kedge.Host.RateLimits

/// Charges the bucket of a key by so much; yields its time before, and whether it was the overflow bucket.
let private charge (table: BucketTable) (key: UInt128) (now: int64) (by: int64) =
    let key = BucketKey.Of key
    let mutable held = HeldBucket()
    table.Enter(key, now, &held)
    let before = held.Time
    let overflow = held.IsOverflow
    held.Time <- max before now + by
    BucketTable.Leave(key, &held, true)
    struct (before, overflow)

/// Odd, so that different numbers have different keys.
let private factor = UInt128(0xfedc_ba98_7654_3210UL, 0x0123_4567_89ab_cdefUL)

let private number (i: int64) : UInt128 = UInt128(0UL, uint64 i) * factor

[<Tests>]
let tests =
    testList
        "buckets of rate limits"
        [
            testCase "ten million keys take no more memory than as many as the table has room for" (fun () ->
                let table = BucketTable 10_000
                let now = 1_000_000L

                for i in 1L .. 20_000L do
                    charge table (number i) now 1_000_000_000L |> ignore

                let before = GC.GetAllocatedBytesForCurrentThread()
                let mutable overflowed = 0

                for i in 20_001L .. 10_000_000L do
                    let struct (_, overflow) = charge table (number i) now 1L

                    if overflow then
                        overflowed <- overflowed + 1

                Expect.isLessThan (GC.GetAllocatedBytesForCurrentThread() - before) 100_000L "bytes"
                Expect.equal overflowed 9_980_000 "all keys beyond the table share one bucket"
                Expect.isLessThanOrEqual (table.Count now) 10_002 "keys in use"
                Expect.isGreaterThan (table.Count now) 9_000 "keys in use")

            testCase "keys come and go: the table agrees with a dictionary that forgets nothing" (fun () ->
                let random = Random 7
                let table = BucketTable 50
                let known = Dictionary<UInt128, int64>()
                let mutable overflow = 0L
                let mutable now = 1L
                let mutable reused = 0
                let mutable overflowed = 0

                for _ in 1..200_000 do
                    now <- now + int64 (random.Next 3)
                    let key = number (int64 (random.Next 200))

                    let time =
                        match known.TryGetValue key with
                        | true, time -> time
                        | _ -> 0L

                    let by = int64 (random.Next(1, 120))
                    let struct (before, isOverflow) = charge table key now by

                    if isOverflow then
                        overflowed <- overflowed + 1
                        Expect.isLessThanOrEqual time now "a key with a debt has its own bucket"
                        Expect.equal before overflow "the overflow bucket"
                        overflow <- max overflow now + by
                        let present = now
                        let busy = known.Values |> Seq.filter (fun time -> time > present) |> Seq.length
                        Expect.equal busy 50 "all are busy"
                    else
                        // A bucket whose time has come may be forgotten.
                        Expect.equal (max before now) (max time now) "its own bucket"
                        known[key] <- max time now + by

                        if time > 0L && before = 0L then
                            reused <- reused + 1

                Expect.isGreaterThan overflowed 100 "the table was full at times"
                Expect.isGreaterThan reused 100 "keys were forgotten")

            testCase "a table of another size has the same buckets" (fun () ->
                let table = BucketTable 10

                for i in 1L .. 10L do
                    charge table (number i) 1L (1000L + i) |> ignore

                let larger = table.Resized(20, 1L)

                for i in 1L .. 10L do
                    let struct (before, _) = charge larger (number i) 1L 1L
                    Expect.equal before (1001L + i) "kept"

                Expect.equal (table.Resized(5, 1L).Count 1L) 5 "as far as there is room")
        ]
