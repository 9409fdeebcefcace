module Kedge.PropertyTests.PickerLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded
open Kedge.PropertyTests.PickerCases

[<Tests>]
let tests =
    testList
        "picker"
        [
            Law.test
                "what the request has tried is never picked, and nothing only when it has tried all"
                500
                [ "something is tried", 200; "all are tried", 5; "a round robin", 75 ]
                (Arb.fromGen anyPick)
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

            Law.test
                "an unavailable endpoint is picked only when every untried one is unavailable"
                500
                [ "some are unavailable, some not", 150; "all are unavailable", 25 ]
                (Arb.fromGen anyPick)
                (fun seen (balancer, endpoints, ticket, random) ->
                    let untried = endpoints |> Array.filter (fun e -> not e.Tried)
                    let anyThere = untried |> Array.exists _.Available

                    seen.When(
                        "some are unavailable, some not",
                        anyThere && untried |> Array.exists (fun e -> not e.Available)
                    )

                    seen.When("all are unavailable", untried.Length > 0 && not anyThere)
                    let index = pick balancer endpoints ticket random

                    if index >= 0 then
                        Expect.equal endpoints[index].Available anyThere "available")

            Law.test
                "the lowest priority with an available untried endpoint is used; in a panic, the lowest with an untried one"
                500
                [ "a lower one was passed over", 50; "panic", 25 ]
                (Arb.fromGen anyPick)
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

            Law.test
                "least request picks the least load for its share"
                500
                [ "loads differ", 250; "weights differ", 250 ]
                (Arb.fromGen (
                    gen {
                        let! endpoints = endpoints anyWeight equal
                        let! ticket = uint64s
                        return endpoints, ticket
                    }
                ))
                (fun seen (endpoints, ticket) ->
                    let endpoints = Array.map fresh endpoints

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

            Law.test
                "of two choices the less loaded is taken, and the most loaded of all never"
                500
                [ "two endpoints", 35; "one is the most loaded", 150 ]
                (Arb.fromGen (
                    gen {
                        let! endpoints = endpoints equal equal
                        let! random = uint64s
                        return endpoints, random
                    }
                ))
                (fun seen (endpoints, random) ->
                    let endpoints = Array.map fresh endpoints

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

            Law.test
                "of two endpoints the one with the less load for its share is taken"
                500
                [ "the less loaded has the more load for its share", 25 ]
                (gen {
                    let! endpoints = Gen.arrayOfLength 2 (endpoint anyWeight equal)
                    let! random = uint64s
                    return endpoints, random
                 }
                 |> Arb.fromGen)
                (fun seen (endpoints, random) ->
                    let endpoints = Array.map fresh endpoints

                    let shares = endpoints |> Array.map _.Rank.Weight |> Schedule.shares
                    let loads = endpoints |> Array.map _.InFlight
                    let picked = pick Balancer.PowerOfTwoChoices endpoints 0UL random
                    let other = 1 - picked
                    seen.When("the less loaded has the more load for its share", loads[picked] > loads[other])

                    Expect.isLessThanOrEqual
                        (uint64 loads[picked] * shares[other])
                        (uint64 loads[other] * shares[picked])
                        "load for its share")

            Law.test
                "picking is a function of its arguments, and total"
                500
                [ "a pick", 400 ]
                (Arb.fromGen anyPick)
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
