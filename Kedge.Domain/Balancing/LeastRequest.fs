namespace Kedge.Domain

/// LEAST_REQUEST: the candidate with the fewest requests in flight for its share.
///
/// For requests that differ much in cost, and endpoints that differ in speed: a slow endpoint keeps its requests longer
/// and so gets fewer new ones. It looks at every endpoint, and a new one with no load attracts requests from all
/// proxies at once.
[<RequireQualifiedAccess>]
module internal LeastRequest =

    /// The place of the candidate, or -1 when there is none. Equally loaded candidates take turns, as in a round robin.
    let pick (group: PriorityGroup) (view: 'view :> IEndpointView) (panic: bool) (ticket: uint64) : int =
        let members = group.Members
        let shares = group.Shares
        let turns = group.Turns
        let cycle = group.Cycle
        let mutable best = -1
        let mutable bestLoad = 0
        let mutable equals = 0

        for place in 0 .. members.Length - 1 do
            if group.IsCandidate(view, panic, place) then
                let load = view.InFlight members[place]

                if best < 0 || PriorityGroup.IsLighter(load, shares[place], bestLoad, shares[best]) then
                    best <- place
                    bestLoad <- load
                    equals <- turns[place]
                elif not (PriorityGroup.IsLighter(bestLoad, shares[best], load, shares[place])) then
                    equals <- equals + turns[place]

        if best < 0 || equals = turns[best] then
            best
        else
            let mutable remaining = int (ticket % uint64 equals)
            let mutable turn = 0
            let mutable found = -1

            while found < 0 && turn < cycle.Length do
                let place = cycle[turn]

                if group.IsCandidate(view, panic, place) then
                    let load = view.InFlight members[place]

                    if not (PriorityGroup.IsLighter(bestLoad, shares[best], load, shares[place])) then
                        if remaining = 0 then
                            found <- place

                        remaining <- remaining - 1

                turn <- turn + 1

            // Nothing is found only when load or availability changed in the meantime.
            if found < 0 then best else found
