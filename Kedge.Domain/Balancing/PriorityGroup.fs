namespace Kedge.Domain

open System

/// The endpoints of one priority, which the balancing policies choose from. `members` are their indexes in the whole
/// set; a place is a position in `members`. Policies choose among the candidates: the places that a request may be sent
/// to.
[<Sealed>]
type internal PriorityGroup(members: int array, weights: uint16 array) =
    let shares = Schedule.shares weights
    let turns = Schedule.turns shares
    let cycle = Schedule.cycle turns

    member _.Members = members

    /// The share of the requests that each place should get, in any unit; positive.
    member _.Shares = shares

    /// How many turns of a cycle each place has; positive.
    member _.Turns = turns

    /// The places in the order of their turns.
    member _.Cycle = cycle

    /// `panic`: unavailable endpoints are candidates too.
    member _.IsCandidate(view: 'view :> IEndpointView, panic: bool, place: int) : bool =
        let index = members[place]
        not (view.IsTried index) && (panic || view.IsAvailable index)

    /// Whether `load`/`share` is less than `otherLoad`/`otherShare`. (F#'s own comparison would box a `UInt128`.)
    static member IsLighter(load: int, share: uint64, otherLoad: int, otherShare: uint64) : bool =
        Math.BigMul(uint64 (max 0 load), otherShare).CompareTo(Math.BigMul(uint64 (max 0 otherLoad), share)) < 0
