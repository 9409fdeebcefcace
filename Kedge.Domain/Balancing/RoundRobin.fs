namespace Kedge.Domain

/// ROUND_ROBIN: the candidates take turns, in proportion to their shares.
///
/// The default, because it needs no knowledge of the endpoints' load and spreads equal requests as evenly as possible.
/// It is the wrong choice where requests differ greatly in cost, or endpoints in speed.
[<RequireQualifiedAccess>]
module internal RoundRobin =

    /// The place whose turn it is for this ticket, counting only the turns of the candidates, or -1 when there is no
    /// candidate.
    let pick (group: PriorityGroup) (view: 'view :> IEndpointView) (panic: bool) (ticket: uint64) : int =
        let cycle = group.Cycle
        let mutable total = 0
        let mutable last = -1
        let mutable everyone = true

        for place in 0 .. group.Members.Length - 1 do
            if group.IsCandidate(view, panic, place) then
                total <- total + group.Turns[place]
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

                if group.IsCandidate(view, panic, place) then
                    if remaining = 0 then
                        found <- place

                    remaining <- remaining - 1

                turn <- turn + 1

            // Nothing is found only when availability changed in the meantime.
            if found < 0 then last else found
