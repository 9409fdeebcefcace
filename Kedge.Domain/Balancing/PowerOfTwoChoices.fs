namespace Kedge.Domain

/// POWER_OF_TWO_CHOICES: of two candidates drawn by share, the one with fewer requests in flight for its share.
///
/// Nearly as even as LEAST_REQUEST (Mitzenmacher, "The power of two choices in randomized load balancing"), yet many
/// proxies do not all rush to the same idle endpoint, since each compares only two.
[<RequireQualifiedAccess>]
module internal PowerOfTwoChoices =

    /// 64 other random bits (the finaliser of SplitMix64).
    let private remix (random: uint64) =
        let mixed = random + 0x9E3779B97F4A7C15UL
        let mixed = (mixed ^^^ (mixed >>> 30)) * 0xBF58476D1CE4E5B9UL
        let mixed = (mixed ^^^ (mixed >>> 27)) * 0x94D049BB133111EBUL
        mixed ^^^ (mixed >>> 31)

    /// The place of the candidate, or -1 when there is none.
    let pick (group: PriorityGroup) (view: 'view :> IEndpointView) (panic: bool) (random: uint64) : int =
        let first = WeightedRandom.pick group view panic random

        let second =
            if first < 0 then
                -1
            else
                WeightedRandom.pickExcept group view panic (remix random) first

        if
            second >= 0
            && PriorityGroup.IsLighter(
                view.InFlight group.Members[second],
                group.Shares[second],
                view.InFlight group.Members[first],
                group.Shares[first]
            )
        then
            second
        else
            first
