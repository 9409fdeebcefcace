namespace Kedge.Domain

open System

/// RANDOM: a candidate at random, according to shares.
///
/// For many proxies in front of the same endpoints: without any state, nothing can make them choose the same endpoint
/// at the same time.
[<RequireQualifiedAccess>]
module internal WeightedRandom =

    /// A number below `total`, from 64 random bits.
    let private scale (random: uint64) (total: uint64) =
        let mutable low = 0UL
        Math.BigMul(random, total, &low)

    /// The place of a candidate other than `except` (-1 = no exception), or -1 when there is none.
    let pickExcept
        (group: PriorityGroup)
        (view: 'view :> IEndpointView)
        (panic: bool)
        (random: uint64)
        (except: int)
        : int =
        let shares = group.Shares
        let mutable total = 0UL
        let mutable last = -1

        for place in 0 .. group.Members.Length - 1 do
            if place <> except && group.IsCandidate(view, panic, place) then
                total <- total + shares[place]
                last <- place

        if last < 0 then
            -1
        else
            let mutable remaining = scale random total
            let mutable place = 0
            let mutable found = -1

            while found < 0 && place < group.Members.Length do
                if place <> except && group.IsCandidate(view, panic, place) then
                    if remaining < shares[place] then
                        found <- place
                    else
                        remaining <- remaining - shares[place]

                place <- place + 1

            // Nothing is found only when availability changed in the meantime.
            if found < 0 then last else found

    /// The place of a candidate, or -1 when there is none.
    let pick (group: PriorityGroup) (view: 'view :> IEndpointView) (panic: bool) (random: uint64) : int =
        pickExcept group view panic random -1
