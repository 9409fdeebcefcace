module Kedge.PropertyTests.ScheduleLaws

open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private smallTurns =
    gen {
        let! count = Gen.choose (1, 8)
        return! Gen.arrayOfLength count (Gen.choose (1, 12))
    }

let private srvWeight =
    Gen.frequency
        [
            2, Gen.constant 0us
            5, Gen.choose (1, 20) |> Gen.map uint16
            2, Gen.choose (0, 65535) |> Gen.map uint16
        ]

let private weights =
    gen {
        let! count = Gen.choose (1, 10)
        return! Gen.arrayOfLength count srvWeight
    }

[<Tests>]
let tests =
    testList
        "schedule"
        [
            Law.test
                "a cycle gives each endpoint its turns, and every start of it each one's share to within one"
                500
                [ "turns differ", 300; "many turns", 200 ]
                (Arb.fromGen smallTurns)
                (fun seen turns ->
                    let cycle = Schedule.cycle turns
                    seen.When("turns differ", Array.distinct turns |> Array.length > 1)
                    seen.When("many turns", cycle.Length > 20)
                    Expect.equal cycle.Length (Array.sum turns) "length"
                    let had = Array.zeroCreate turns.Length

                    cycle
                    |> Array.iteri (fun time index ->
                        had[index] <- had[index] + 1

                        for i in 0 .. turns.Length - 1 do
                            // |had - (time+1)·turns/length| < 1, in whole numbers
                            let difference = had[i] * cycle.Length - (time + 1) * turns[i]
                            Expect.isLessThan (abs difference) cycle.Length $"{turns} after {time + 1}")

                    Expect.sequenceEqual had turns "whole cycle")

            Law.test
                "endpoints of weight 0 share one unit of weight, the others have theirs"
                500
                [ "some are 0, some not", 150; "all are 0", 5 ]
                (Arb.fromGen weights)
                (fun seen weights ->
                    let shares = Schedule.shares weights
                    let total = Array.sum shares |> decimal
                    let sum = weights |> Array.sumBy decimal
                    let zeros = weights |> Array.filter ((=) 0us) |> Array.length
                    seen.When("some are 0, some not", zeros > 0 && sum > 0m)
                    seen.When("all are 0", (sum = 0m))

                    // RFC 2782 draws from 0 to the sum, both included; 0 is the endpoints' of weight 0.
                    let ofZeros = if zeros > 0 then 1m else 0m

                    for weight, share in Array.zip weights shares do
                        if sum = 0m then
                            Expect.equal share 1UL "equal"
                        elif weight > 0us then
                            Expect.equal (decimal share * (sum + ofZeros)) (decimal weight * total) "of its weight"
                        else
                            Expect.equal (decimal share * (sum + 1m) * decimal zeros) total "of one unit")

            Law.test
                "turns are in proportion to the shares, exactly when the cycle is short, else to within one in the longest"
                500
                [ "exact", 100; "rounded", 50 ]
                (Arb.fromGen weights)
                (fun seen weights ->
                    let shares = Schedule.shares weights
                    let turns = Schedule.turns shares
                    let total = Array.sum shares |> float
                    let longest = Schedule.maxTurns shares.Length

                    let exact =
                        Array.forall2
                            (fun (turn: int) (share: uint64) ->
                                uint64 turn * Array.sum shares = share * uint64 (Array.sum turns))
                            turns
                            shares

                    seen.When("exact", exact)
                    seen.When("rounded", not exact)
                    Expect.all turns (fun turn -> turn >= 1) "everyone has a turn"
                    Expect.isLessThanOrEqual (Array.sum turns) (longest + shares.Length) "bounded"

                    if not exact then
                        for turn, share in Array.zip turns shares do
                            let wanted = float share * float longest / total
                            Expect.isLessThan (abs (float turn - wanted)) 1.000001 "rounded")

            testCase "ten thousand endpoints of many weights have a cycle" (fun () ->
                let shares = Schedule.shares (Array.init 10_000 (fun i -> uint16 (i * 7 % 65536)))
                let turns = Schedule.turns shares
                let cycle = Schedule.cycle turns
                Expect.isGreaterThanOrEqual cycle.Length 10_000 "everyone has a turn"
                Expect.isLessThanOrEqual cycle.Length 170_000 "bounded")

            testCase "no endpoints have no turns" (fun () ->
                Expect.isEmpty (Schedule.shares [||]) "shares"
                Expect.isEmpty (Schedule.turns [||]) "turns"
                Expect.isEmpty (Schedule.cycle [||]) "cycle")

            testCase "endpoints alternate instead of coming in bursts" (fun () ->
                Expect.sequenceEqual (Schedule.cycle [| 3; 1 |]) [ 0; 0; 0; 1 ] "3 to 1"
                Expect.sequenceEqual (Schedule.cycle [| 2; 2 |]) [ 0; 1; 0; 1 ] "2 to 2"
                Expect.sequenceEqual (Schedule.cycle [| 4; 2 |]) [ 0; 0; 1; 0; 0; 1 ] "4 to 2")
        ]
