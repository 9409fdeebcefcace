module Kedge.PropertyTests.FairnessLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded
open Kedge.PropertyTests.PickerCases

[<Tests>]
let tests =
    testList
        "fairness of the picker"
        [
            Law.test
                "round robin over equal endpoints is fair to within one in every window"
                500
                [
                    "some are unavailable", 200
                    "two or more take part", 200
                    "the counter overflows", 100
                ]
                (Arb.fromGen (
                    gen {
                        let! endpoints = endpoints equal equal

                        let! start =
                            Gen.oneof [ uint64s; Gen.choose (0, 30) |> Gen.map (fun n -> 0UL - uint64 n) ]

                        let! length = Gen.choose (1, 60)
                        return endpoints |> Array.map (fun e -> { e with Tried = false }), start, length
                    }
                ))
                (fun seen (endpoints, start, length) ->
                    let panic = endpoints |> Array.forall (fun e -> not e.Available)
                    let takesPart e = panic || e.Available
                    let wraps = start > UInt64.MaxValue - uint64 length
                    let among = endpoints |> Array.filter takesPart |> Array.length
                    seen.When("some are unavailable", among < endpoints.Length)
                    seen.When("two or more take part", among > 1)
                    seen.When("the counter overflows", wraps)
                    let tickets = Seq.init length (fun i -> start + uint64 i)
                    let counts = counts Balancer.RoundRobin endpoints tickets
                    Expect.equal (Array.sum counts) length "every request has an endpoint"
                    // The one overflow in 2^64 requests is like a change of the set.
                    Expect.isLessThanOrEqual
                        (spread (choose takesPart endpoints counts))
                        (if wraps then 2 else 1)
                        "fair")

            Law.test
                "a change of availability costs round robin at most one"
                500
                [ "the set changes", 200; "two or more are always there", 100 ]
                (Arb.fromGen (
                    gen {
                        let! count = Gen.choose (2, 6)
                        let! changes = Gen.choose (1, 4)

                        let! stages =
                            Gen.listOfLength (changes + 1) (Gen.arrayOfLength count (endpoint equal equal))

                        let! lengths = Gen.listOfLength (changes + 1) (Gen.choose (0, 20))
                        let! start = Gen.choose (0, 1000)
                        let! steady = Gen.choose (0, 3)
                        // The first few are there all the time.
                        let stages =
                            stages
                            |> List.map (
                                Array.mapi (fun i e ->
                                    { e with
                                        Available = i < steady || e.Available
                                    })
                            )

                        return stages, lengths, start
                    }
                ))
                (fun seen (stages, lengths, start) ->
                    let stages = stages |> List.map (Array.map (fun e -> { e with Tried = false }))
                    let count = stages.Head.Length

                    let always =
                        [
                            for i in 0 .. count - 1 -> stages |> List.forall (fun stage -> stage[i].Available)
                        ]

                    let mutable ticket = uint64 start
                    let totals = Array.zeroCreate count

                    for stage, length in List.zip stages lengths do
                        let counts =
                            counts Balancer.RoundRobin stage (Seq.init length (fun i -> ticket + uint64 i))

                        ticket <- ticket + uint64 length
                        counts |> Array.iteri (fun i n -> totals[i] <- totals[i] + n)

                    seen.When(
                        "the set changes",
                        stages |> List.map (Array.map _.Available) |> List.distinct |> List.length > 1
                    )

                    seen.When("two or more are always there", always |> List.filter id |> List.length > 1)

                    let ofAlways =
                        [|
                            for i in 0 .. count - 1 do
                                if always[i] then
                                    totals[i]
                        |]

                    Expect.isLessThanOrEqual (spread ofAlways) stages.Length "fair")

            Law.test
                "a full cycle of weighted round robin has exactly the weights, whichever are unavailable, and starts are near them"
                500
                [ "some are unavailable", 200; "weights differ", 250 ]
                (Arb.fromGen (endpoints anyWeight equal))
                (fun seen endpoints ->
                    let endpoints = endpoints |> Array.map (fun e -> { e with Tried = false })
                    let panic = endpoints |> Array.forall (fun e -> not e.Available)
                    let takesPart e = panic || e.Available

                    let turns =
                        endpoints |> Array.map _.Rank.Weight |> Schedule.shares |> Schedule.turns

                    let wanted = Array.map2 (fun e n -> if takesPart e then n else 0) endpoints turns
                    let length = Array.sum wanted
                    seen.When("some are unavailable", wanted <> turns)
                    seen.When("weights differ", turns |> Array.distinct |> Array.length > 1)

                    for cycle in [ 0; 1; 7 ] do
                        let tickets = Seq.init length (fun i -> uint64 (cycle * length + i))
                        Expect.sequenceEqual (counts Balancer.RoundRobin endpoints tickets) wanted $"cycle {cycle}"

                    let unavailable = endpoints |> Array.filter (takesPart >> not) |> Array.length

                    for count in 1..length do
                        let had = counts Balancer.RoundRobin endpoints (Seq.init count uint64)

                        for i in 0 .. had.Length - 1 do
                            let due = float (count * wanted[i]) / float length

                            Expect.isLessThan
                                (abs (float had[i] - due))
                                (float (1 + unavailable) + 1e-9)
                                "near its share")

            Law.test
                "equally loaded equal endpoints take turns under least request"
                500
                [ "two or more are equal", 150; "others have more", 150 ]
                (Arb.fromGen (
                    gen {
                        let! endpoints = endpoints equal equal
                        let! start = Gen.choose (0, 1000)
                        let! length = Gen.choose (1, 40)
                        return endpoints, start, length
                    }
                ))
                (fun seen (endpoints, start, length) ->
                    let endpoints =
                        endpoints
                        |> Array.map (fun e ->
                            { e with
                                Tried = false
                                Available = true
                                InFlight = e.InFlight / 3
                            })

                    let least = endpoints |> Array.map _.InFlight |> Array.min
                    let isLeast e = e.InFlight = least
                    let equals = endpoints |> Array.filter isLeast |> Array.length
                    seen.When("two or more are equal", equals > 1)
                    seen.When("others have more", equals < endpoints.Length)

                    let counts =
                        counts Balancer.LeastRequest endpoints (Seq.init length (fun i -> uint64 (start + i)))

                    Expect.isLessThanOrEqual (spread (choose isLeast endpoints counts)) 1 "in turns"
                    Expect.equal (Array.sum (choose isLeast endpoints counts)) length "only they")

            Law.test
                "picks by chance keep to the shares, whichever are unavailable"
                500
                [ "some are unavailable", 200; "weights differ", 200 ]
                (Arb.fromGen (
                    gen {
                        let! balancer = Gen.elements [ Balancer.Random; Balancer.PowerOfTwoChoices ]
                        let! endpoints = endpoints anyWeight equal
                        let! seed = Gen.choose (0, 1_000_000)
                        return balancer, endpoints, seed
                    }
                ))
                (fun seen (balancer, endpoints, seed) ->
                    // Equally loaded (not at all), so that of two choices the first is taken.
                    let endpoints =
                        endpoints |> Array.map (fun e -> { e with Tried = false; InFlight = 0 })

                    let panic = endpoints |> Array.forall (fun e -> not e.Available)
                    let shares = endpoints |> Array.map _.Rank.Weight |> Schedule.shares

                    let wanted =
                        Array.map2 (fun e s -> if panic || e.Available then float s else 0.0) endpoints shares

                    seen.When("some are unavailable", wanted |> Array.exists ((=) 0.0))

                    seen.When(
                        "weights differ",
                        wanted |> Array.filter ((<>) 0.0) |> Array.distinct |> Array.length > 1
                    )

                    let random = Random seed
                    let picker = picker balancer endpoints
                    let picks = 2000
                    let counts: int array = Array.zeroCreate endpoints.Length

                    for _ in 1..picks do
                        let index = picker.Pick(View endpoints, 0UL, uint64 (random.NextInt64()) <<< 1)
                        counts[index] <- counts[index] + 1

                    for i in 0 .. endpoints.Length - 1 do
                        let p = wanted[i] / Array.sum wanted
                        let deviation = sqrt (float picks * p * (1.0 - p))
                        // Seven standard deviations: once in 10^11 by chance.
                        Expect.isLessThanOrEqual
                            (abs (float counts[i] - float picks * p))
                            (7.0 * deviation + 1.0)
                            "share")
        ]
