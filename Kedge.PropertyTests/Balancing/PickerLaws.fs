module Kedge.PropertyTests.PickerLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded

type private Endpoint =
    {
        Rank: EndpointRank
        Available: bool
        InFlight: int
        Tried: bool
    }

[<Struct>]
type private View(endpoints: Endpoint array) =
    interface IEndpointView with
        member _.IsAvailable index = endpoints[index].Available
        member _.InFlight index = endpoints[index].InFlight
        member _.IsTried index = endpoints[index].Tried

/// Changes its mind at every question, but for the one endpoint that is tried.
[<Struct>]
type private FickleView(random: Random) =
    interface IEndpointView with
        member _.IsAvailable _ = random.Next 2 = 0
        member _.InFlight _ = random.Next 3
        member _.IsTried index = index = 2

let private balancers =
    [
        Balancer.RoundRobin
        Balancer.LeastRequest
        Balancer.PowerOfTwoChoices
        Balancer.Random
    ]

let private picker balancer (endpoints: Endpoint array) = EndpointPicker(balancer, endpoints |> Array.map _.Rank)

let private pick balancer endpoints ticket random = (picker balancer endpoints).Pick(View endpoints, ticket, random)

let private uint64s =
    Gen.choose64 (Int64.MinValue, Int64.MaxValue) |> Gen.map uint64

let private endpoint weights priorities =
    gen {
        let! weight = weights
        let! priority = priorities
        let! available = Gen.frequency [ 3, Gen.constant true; 2, Gen.constant false ]
        let! inFlight = Gen.choose (0, 5)
        let! tried = Gen.frequency [ 4, Gen.constant false; 1, Gen.constant true ]

        return
            {
                Rank = { Priority = priority; Weight = weight }
                Available = available
                InFlight = inFlight
                Tried = tried
            }
    }

let private endpoints weights priorities =
    gen {
        let! count = Gen.choose (1, 7)
        return! Gen.arrayOfLength count (endpoint weights priorities)
    }

let private anyWeight = Gen.choose (0, 6) |> Gen.map uint16
let private anyPriority = Gen.choose (0, 2) |> Gen.map uint16
let private equal = Gen.constant 0us

let private anyPick =
    gen {
        let! balancer = Gen.elements balancers
        let! endpoints = endpoints anyWeight anyPriority
        let! ticket = uint64s
        let! random = uint64s
        return balancer, endpoints, ticket, random
    }

/// How often each endpoint is picked over consecutive tickets.
let private counts balancer endpoints (tickets: uint64 seq) =
    let picker = picker balancer endpoints
    let counts: int array = Array.zeroCreate endpoints.Length

    for ticket in tickets do
        let index = picker.Pick(View endpoints, ticket, 0UL)

        if index >= 0 then
            counts[index] <- counts[index] + 1

    counts

let private spread (counts: int array) =
    if counts.Length = 0 then
        0
    else
        Array.max counts - Array.min counts

let private choose predicate (endpoints: Endpoint array) (values: int array) =
    Array.zip endpoints values |> Array.filter (fst >> predicate) |> Array.map snd

[<Tests>]
let tests =
    testList
        "picker"
        [
            Guarded.law
                "what the request has tried is never picked, and nothing only when it has tried all"
                [ "something is tried", 40; "all are tried", 1; "a round robin", 15 ]
                anyPick
                (fun seen (balancer, endpoints, ticket, random) ->
                    let all = endpoints |> Array.forall _.Tried
                    seen.When("something is tried", endpoints |> Array.exists _.Tried)
                    seen.When("all are tried", all)
                    seen.When("a round robin", (balancer = Balancer.RoundRobin))
                    let index = pick balancer endpoints ticket random

                    if all then
                        Expect.equal index -1 "none"
                    else
                        Expect.isFalse endpoints[index].Tried "untried")

            Guarded.law
                "one that is set aside is picked only when every untried one is"
                [ "some are aside, some not", 30; "all are aside", 5 ]
                anyPick
                (fun seen (balancer, endpoints, ticket, random) ->
                    let untried = endpoints |> Array.filter (fun e -> not e.Tried)
                    let anyThere = untried |> Array.exists _.Available

                    seen.When(
                        "some are aside, some not",
                        anyThere && untried |> Array.exists (fun e -> not e.Available)
                    )

                    seen.When("all are aside", untried.Length > 0 && not anyThere)
                    let index = pick balancer endpoints ticket random

                    if index >= 0 then
                        Expect.equal endpoints[index].Available anyThere "available")

            Guarded.law
                "the lowest priority with an available untried endpoint is used; in a panic, the lowest with an untried one"
                [ "a lower one was passed over", 10; "panic", 5 ]
                anyPick
                (fun seen (balancer, endpoints, ticket, random) ->
                    let index = pick balancer endpoints ticket random

                    if index >= 0 then
                        let untried = endpoints |> Array.filter (fun e -> not e.Tried)
                        let there = untried |> Array.filter _.Available
                        let lowest among = among |> Array.map _.Rank.Priority |> Array.min
                        let expected = lowest (if there.Length > 0 then there else untried)
                        seen.When("a lower one was passed over", expected > lowest endpoints)
                        seen.When("panic", Array.isEmpty there)
                        Expect.equal endpoints[index].Rank.Priority expected "priority")

            Guarded.law
                "round robin over equal endpoints is fair to within one in every window"
                [
                    "some are aside", 40
                    "two or more take part", 40
                    "the counter overflows", 20
                ]
                (gen {
                    let! endpoints = endpoints equal equal

                    let! start =
                        Gen.oneof [ uint64s; Gen.choose (0, 30) |> Gen.map (fun n -> 0UL - uint64 n) ]

                    let! length = Gen.choose (1, 60)
                    return endpoints |> Array.map (fun e -> { e with Tried = false }), start, length
                })
                (fun seen (endpoints, start, length) ->
                    let panic = endpoints |> Array.forall (fun e -> not e.Available)
                    let takesPart e = panic || e.Available
                    let wraps = start > UInt64.MaxValue - uint64 length
                    let among = endpoints |> Array.filter takesPart |> Array.length
                    seen.When("some are aside", among < endpoints.Length)
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

            Guarded.law
                "a change of who is aside costs round robin at most one"
                [ "the set changes", 40; "two or more are always there", 20 ]
                (gen {
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
                })
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

            Guarded.law
                "a full cycle of weighted round robin has exactly the weights, whoever is aside, and starts are near them"
                [ "some are aside", 40; "weights differ", 50 ]
                (endpoints anyWeight equal)
                (fun seen endpoints ->
                    let endpoints = endpoints |> Array.map (fun e -> { e with Tried = false })
                    let panic = endpoints |> Array.forall (fun e -> not e.Available)
                    let takesPart e = panic || e.Available

                    let turns =
                        endpoints |> Array.map _.Rank.Weight |> Schedule.shares |> Schedule.turns

                    let wanted = Array.map2 (fun e n -> if takesPart e then n else 0) endpoints turns
                    let length = Array.sum wanted
                    seen.When("some are aside", wanted <> turns)
                    seen.When("weights differ", turns |> Array.distinct |> Array.length > 1)

                    for cycle in [ 0; 1; 7 ] do
                        let tickets = Seq.init length (fun i -> uint64 (cycle * length + i))
                        Expect.sequenceEqual (counts Balancer.RoundRobin endpoints tickets) wanted $"cycle {cycle}"

                    let aside = endpoints |> Array.filter (takesPart >> not) |> Array.length

                    for count in 1..length do
                        let had = counts Balancer.RoundRobin endpoints (Seq.init count uint64)

                        for i in 0 .. had.Length - 1 do
                            let due = float (count * wanted[i]) / float length
                            Expect.isLessThan (abs (float had[i] - due)) (float (1 + aside) + 1e-9) "near its share")

            Guarded.law
                "least request picks the least load for its share"
                [ "loads differ", 50; "weights differ", 50 ]
                (gen {
                    let! endpoints = endpoints anyWeight equal
                    let! ticket = uint64s
                    return endpoints, ticket
                })
                (fun seen (endpoints, ticket) ->
                    let endpoints =
                        endpoints
                        |> Array.map (fun e ->
                            { e with
                                Tried = false
                                Available = true
                            })

                    let shares = endpoints |> Array.map _.Rank.Weight |> Schedule.shares
                    let load i = decimal endpoints[i].InFlight / decimal shares[i]
                    seen.When("loads differ", endpoints |> Array.distinctBy _.InFlight |> Array.length > 1)
                    seen.When("weights differ", shares |> Array.distinct |> Array.length > 1)
                    let picked = pick Balancer.LeastRequest endpoints ticket 0UL

                    for i in 0 .. endpoints.Length - 1 do
                        // Not by quotients: a third has no exact one.
                        Expect.isLessThanOrEqual
                            (uint64 endpoints[picked].InFlight * shares[i])
                            (uint64 endpoints[i].InFlight * shares[picked])
                            $"{load picked} against {load i}")

            Guarded.law
                "equally loaded equal endpoints take turns under least request"
                [ "two or more are equal", 30; "others have more", 30 ]
                (gen {
                    let! endpoints = endpoints equal equal
                    let! start = Gen.choose (0, 1000)
                    let! length = Gen.choose (1, 40)
                    return endpoints, start, length
                })
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

            Guarded.law
                "of two choices the less loaded is taken, and the most loaded of all never"
                [ "two endpoints", 7; "one is the most loaded", 30 ]
                (gen {
                    let! endpoints = endpoints equal equal
                    let! random = uint64s
                    return endpoints, random
                })
                (fun seen (endpoints, random) ->
                    let endpoints =
                        endpoints
                        |> Array.map (fun e ->
                            { e with
                                Tried = false
                                Available = true
                            })

                    let loads = endpoints |> Array.map _.InFlight
                    let picked = pick Balancer.PowerOfTwoChoices endpoints 0UL random
                    let most = Array.max loads

                    let oneMost =
                        endpoints.Length > 1 && (loads |> Array.filter ((=) most) |> Array.length) = 1

                    seen.When("two endpoints", (endpoints.Length = 2))
                    seen.When("one is the most loaded", oneMost)

                    if oneMost then
                        Expect.isLessThan loads[picked] most "the other one of the two is less loaded"

                    if endpoints.Length = 2 then
                        Expect.equal loads[picked] (Array.min loads) "the less loaded")

            Guarded.law
                "picks by chance keep to the shares, whoever is aside"
                [ "some are aside", 40; "weights differ", 40 ]
                (gen {
                    let! balancer = Gen.elements [ Balancer.Random; Balancer.PowerOfTwoChoices ]
                    let! endpoints = endpoints anyWeight equal
                    let! seed = Gen.choose (0, 1_000_000)
                    return balancer, endpoints, seed
                })
                (fun seen (balancer, endpoints, seed) ->
                    // Equally loaded (not at all), so that of two choices the first is taken.
                    let endpoints =
                        endpoints |> Array.map (fun e -> { e with Tried = false; InFlight = 0 })

                    let panic = endpoints |> Array.forall (fun e -> not e.Available)
                    let shares = endpoints |> Array.map _.Rank.Weight |> Schedule.shares

                    let wanted =
                        Array.map2 (fun e s -> if panic || e.Available then float s else 0.0) endpoints shares

                    seen.When("some are aside", wanted |> Array.exists ((=) 0.0))

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

            Guarded.law
                "picking is a function of its arguments, and total"
                [ "a pick", 80 ]
                anyPick
                (fun seen (balancer, endpoints, ticket, random) ->
                    let index = pick balancer endpoints ticket random
                    seen.When("a pick", index >= 0)
                    Expect.isTrue (index >= -1 && index < endpoints.Length) "an index"
                    Expect.equal (pick balancer endpoints ticket random) index "the same again")

            testCase "no endpoint, no pick" (fun () ->
                for balancer in balancers do
                    Expect.equal (pick balancer [||] 0UL 0UL) -1 $"{balancer}")

            testCase "picking allocates nothing" (fun () ->
                let endpoints =
                    [|
                        for i in 0..9 ->
                            {
                                Rank =
                                    {
                                        Priority = uint16 (i / 8)
                                        Weight = uint16 (i % 3)
                                    }
                                Available = i % 4 <> 0
                                InFlight = i % 2
                                Tried = i = 5
                            }
                    |]

                for balancer in balancers do
                    let picker = picker balancer endpoints
                    let view = View endpoints
                    let mutable sum = picker.Pick(view, 0UL, 0UL)
                    let before = GC.GetAllocatedBytesForCurrentThread()

                    for ticket in 1UL .. 1000UL do
                        sum <- sum + picker.Pick(view, ticket, ticket * 0x9E3779B97F4A7C15UL)

                    Expect.equal (GC.GetAllocatedBytesForCurrentThread() - before) 0L $"{balancer}"
                    Expect.isGreaterThan sum 0 "picks")

            testCase "availability that changes within a pick still gives an untried endpoint" (fun () ->
                for balancer in balancers do
                    let random = Random 7

                    let picker =
                        EndpointPicker(balancer, Array.init 6 (fun i -> { Priority = 0us; Weight = uint16 i }))

                    for ticket in 0UL .. 2000UL do
                        let index = picker.Pick(FickleView random, ticket, uint64 (random.NextInt64()))
                        Expect.isTrue (index >= 0 && index <> 2) $"{balancer} picks {index}")
        ]
