/// Endpoints, and ways to ask a picker about them, for its laws.
module Kedge.PropertyTests.PickerCases

open System
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded

type Endpoint =
    {
        Rank: EndpointRank
        Available: bool
        InFlight: int
        Tried: bool
    }

[<Struct>]
type View(endpoints: Endpoint array) =
    interface IEndpointView with
        member _.IsAvailable index = endpoints[index].Available
        member _.InFlight index = endpoints[index].InFlight
        member _.IsTried index = endpoints[index].Tried

/// Changes its mind at every question, but for the one endpoint that is tried.
[<Struct>]
type FickleView(random: Random) =
    interface IEndpointView with
        member _.IsAvailable _ = random.Next 2 = 0
        member _.InFlight _ = random.Next 3
        member _.IsTried index = index = 2

let balancers =
    [
        Balancer.RoundRobin
        Balancer.LeastRequest
        Balancer.PowerOfTwoChoices
        Balancer.Random
    ]

let picker balancer (endpoints: Endpoint array) = EndpointPicker(balancer, endpoints |> Array.map _.Rank)

let pick balancer endpoints ticket random = (picker balancer endpoints).Pick(View endpoints, ticket, random)

let uint64s = Gen.choose64 (Int64.MinValue, Int64.MaxValue) |> Gen.map uint64

let endpoint weights priorities =
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

let endpoints weights priorities =
    gen {
        let! count = Gen.choose (1, 7)
        return! Gen.arrayOfLength count (endpoint weights priorities)
    }

/// The same endpoint, available and untried.
let fresh (endpoint: Endpoint) =
    { endpoint with
        Tried = false
        Available = true
    }

let anyWeight = Gen.choose (0, 6) |> Gen.map uint16
let anyPriority = Gen.choose (0, 2) |> Gen.map uint16
let equal = Gen.constant 0us

let anyPick =
    gen {
        let! balancer = Gen.elements balancers
        let! endpoints = endpoints anyWeight anyPriority
        let! ticket = uint64s
        let! random = uint64s
        return balancer, endpoints, ticket, random
    }

/// How often each endpoint is picked over consecutive tickets.
let counts balancer endpoints (tickets: uint64 seq) =
    let picker = picker balancer endpoints
    let counts: int array = Array.zeroCreate endpoints.Length

    for ticket in tickets do
        let index = picker.Pick(View endpoints, ticket, 0UL)

        if index >= 0 then
            counts[index] <- counts[index] + 1

    counts

let spread (counts: int array) =
    if counts.Length = 0 then
        0
    else
        Array.max counts - Array.min counts

let choose predicate (endpoints: Endpoint array) (values: int array) =
    Array.zip endpoints values |> Array.filter (fst >> predicate) |> Array.map snd
