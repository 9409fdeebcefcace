namespace Kedge.Domain

open System
open Kedge.Domain.Decoded

/// A request's view of the endpoints of a backend, by their index in the set that the picker was made for. The shell
/// implements it with a small struct. Availability and load may change between two calls; `IsTried` must not.
type IEndpointView =
    /// Not set aside.
    abstract IsAvailable: index: int -> bool
    /// Requests under way at the endpoint, not negative.
    abstract InFlight: index: int -> int
    /// This request has been there already.
    abstract IsTried: index: int -> bool

/// What a resolver says of an endpoint's place among the others. Only SRV records say anything but 0 and 0.
[<Struct>]
type EndpointRank =
    {
        /// Lower ones are used first.
        Priority: uint16
        /// RFC 2782: the share within the priority.
        Weight: uint16
    }

/// Endpoints of one priority. `Candidates` are its endpoints that a request may be sent to.
[<Sealed>]
type internal PriorityGroup(members: int array, weights: uint16 array) =
    let shares = Schedule.shares weights
    let turns = Schedule.turns shares
    let cycle = Schedule.cycle turns

    static let isCandidate (view: 'view :> IEndpointView) (panic: bool) (index: int) =
        not (view.IsTried index) && (panic || view.IsAvailable index)

    /// Whether `load`/`share` is less than `otherLoad`/`otherShare`. (F#'s own comparison would box a `UInt128`.)
    static let isLighter (load: int) (share: uint64) (otherLoad: int) (otherShare: uint64) =
        Math.BigMul(uint64 (max 0 load), otherShare).CompareTo(Math.BigMul(uint64 (max 0 otherLoad), share)) < 0

    /// A number below `total`, from 64 random bits.
    static let scale (random: uint64) (total: uint64) =
        let mutable low = 0UL
        Math.BigMul(random, total, &low)

    /// 64 other random bits (the finaliser of SplitMix64).
    static let remix (random: uint64) =
        let mixed = random + 0x9E3779B97F4A7C15UL
        let mixed = (mixed ^^^ (mixed >>> 30)) * 0xBF58476D1CE4E5B9UL
        let mixed = (mixed ^^^ (mixed >>> 27)) * 0x94D049BB133111EBUL
        mixed ^^^ (mixed >>> 31)

    /// The place of the candidate that has the given turn, of those that candidates have, counted in cycles.
    member private _.TurnOf(view: 'view :> IEndpointView, panic, ticket: uint64) : int =
        let mutable total = 0
        let mutable last = -1
        let mutable everyone = true

        for place in 0 .. members.Length - 1 do
            if isCandidate view panic members[place] then
                total <- total + turns[place]
                last <- place
            else
                everyone <- false

        if last < 0 then
            -1
        elif everyone then
            cycle[int (ticket % uint64 cycle.Length)]
        else
            let mutable remaining = int (ticket % uint64 total)
            let mutable turn = 0
            let mutable found = -1

            while found < 0 && turn < cycle.Length do
                let place = cycle[turn]

                if isCandidate view panic members[place] then
                    if remaining = 0 then
                        found <- place

                    remaining <- remaining - 1

                turn <- turn + 1

            // Nothing is found only when availability changed on the way.
            if found < 0 then last else found

    /// The candidate with the least load for its share. Equally loaded ones take turns, as in a round robin.
    member private _.LeastLoaded(view: 'view :> IEndpointView, panic, ticket: uint64) : int =
        let mutable best = -1
        let mutable bestLoad = 0
        let mutable equals = 0

        for place in 0 .. members.Length - 1 do
            if isCandidate view panic members[place] then
                let load = view.InFlight members[place]

                if best < 0 || isLighter load shares[place] bestLoad shares[best] then
                    best <- place
                    bestLoad <- load
                    equals <- turns[place]
                elif not (isLighter bestLoad shares[best] load shares[place]) then
                    equals <- equals + turns[place]

        if best < 0 || equals = turns[best] then
            best
        else
            let mutable remaining = int (ticket % uint64 equals)
            let mutable turn = 0
            let mutable found = -1

            while found < 0 && turn < cycle.Length do
                let place = cycle[turn]

                if isCandidate view panic members[place] then
                    let load = view.InFlight members[place]

                    if not (isLighter bestLoad shares[best] load shares[place]) then
                        if remaining = 0 then
                            found <- place

                        remaining <- remaining - 1

                turn <- turn + 1

            if found < 0 then best else found

    /// A candidate by chance, according to shares; never the one at `except`.
    member private _.Draw(view: 'view :> IEndpointView, panic, random: uint64, except: int) : int =
        let mutable total = 0UL
        let mutable last = -1

        for place in 0 .. members.Length - 1 do
            if place <> except && isCandidate view panic members[place] then
                total <- total + shares[place]
                last <- place

        if last < 0 then
            -1
        else
            let mutable remaining = scale random total
            let mutable place = 0
            let mutable found = -1

            while found < 0 && place < members.Length do
                if place <> except && isCandidate view panic members[place] then
                    if remaining < shares[place] then
                        found <- place
                    else
                        remaining <- remaining - shares[place]

                place <- place + 1

            if found < 0 then last else found

    /// The index of an endpoint, or -1 when there is no candidate.
    member group.Pick(balancer: Balancer, view: 'view :> IEndpointView, panic, ticket: uint64, random: uint64) : int =
        let place =
            match balancer with
            | Balancer.LeastRequest -> group.LeastLoaded(view, panic, ticket)
            | Balancer.Random -> group.Draw(view, panic, random, -1)
            | Balancer.PowerOfTwoChoices ->
                let first = group.Draw(view, panic, random, -1)

                let second =
                    if first < 0 then
                        -1
                    else
                        group.Draw(view, panic, remix random, first)

                if
                    second >= 0
                    && isLighter
                        (view.InFlight members[second])
                        shares[second]
                        (view.InFlight members[first])
                        shares[first]
                then
                    second
                else
                    first
            | _ -> group.TurnOf(view, panic, ticket)

        if place < 0 then -1 else members[place]

/// Chooses the endpoint for a request. Made once for each endpoint set; picking allocates nothing, and its cost is
/// linear in the number of endpoints (with unequal weights and one of them aside, in `Schedule.maxTurns`).
///
/// What holds for every balancer:
/// - An endpoint that the request has tried is never picked again.
/// - One that is set aside is picked only when every untried endpoint is (panic: better a doubtful one than none).
/// - The lowest priority that has an available, untried endpoint is used; when panicking, the lowest with an untried one.
///
/// What each does within the priority, where an endpoint's share is as `Schedule.shares` says:
/// - ROUND_ROBIN: the ticket decides. Over consecutive tickets, and while the same endpoints are candidates, endpoints
///   of equal weight get equally many to within 1. After every change of the candidates that a window spans, this may
///   grow by 1. With unequal weights each cycle has the exact shares (within the bounds of `Schedule.turns`), and each
///   start of a cycle is exact to within 1; while some are aside, the turns of the others keep their order and close up.
/// - LEAST_REQUEST: the least requests under way for its share; equal ones take turns.
/// - POWER_OF_TWO_CHOICES: of two drawn by share, the one with the fewer requests under way for its share.
/// - RANDOM: by share.
[<Sealed>]
type EndpointPicker(balancer: Balancer, ranks: EndpointRank array) =
    let groups =
        ranks
        |> Array.indexed
        |> Array.groupBy (fun (_, rank) -> rank.Priority)
        |> Array.sortBy fst
        |> Array.map (fun (_, ranked) ->
            PriorityGroup(Array.map fst ranked, ranked |> Array.map (fun (_, rank) -> rank.Weight)))

    member _.Balancer = balancer

    /// How many endpoints the set has.
    member _.Count = ranks.Length

    /// A picker for endpoints of equal rank.
    static member OfEquals(balancer: Balancer, count: int) =
        EndpointPicker(balancer, Array.create (max 0 count) { Priority = 0us; Weight = 0us })

    /// The index of the endpoint to send the request to, or -1 when it has tried all.
    ///
    /// `ticket` comes from a counter of the backend that goes up by one for each request (it may overflow); a request
    /// keeps its ticket when it is sent to another endpoint, or retries would disturb the turns of the others.
    /// `random` is 64 random bits; the same bits give the same choice.
    member _.Pick<'view when 'view: struct and 'view :> IEndpointView>
        (view: 'view, ticket: uint64, random: uint64)
        : int =
        let mutable picked = -1
        let mutable group = 0

        while picked < 0 && group < groups.Length do
            picked <- groups[group].Pick(balancer, view, false, ticket, random)
            group <- group + 1

        group <- 0

        while picked < 0 && group < groups.Length do
            picked <- groups[group].Pick(balancer, view, true, ticket, random)
            group <- group + 1

        picked
