namespace Kedge.Domain

open Kedge.Domain.Decoded

/// Chooses the endpoint for a request. Made once for each endpoint set. Picking allocates nothing, and its cost is
/// linear in the number of endpoints (in `Schedule.maxTurns` with unequal weights and an unavailable endpoint).
///
/// What holds for every policy:
/// - An endpoint that the request has tried is never picked again.
/// - An unavailable one is picked only when every untried endpoint is unavailable (panic: a doubtful one is better than
///   none).
/// - The lowest priority with an available, untried endpoint is used; in a panic, the lowest with an untried one.
///
/// What each policy does within the priority, where an endpoint's share is as `Schedule.shares` says:
/// - ROUND_ROBIN: the ticket decides. Over consecutive tickets, and while the candidates are the same, endpoints of
///   equal weight get equally many requests to within 1. This may grow by 1 with every change of the candidates that a
///   window spans. With unequal weights each cycle has the exact shares (within the bounds of `Schedule.turns`), and
///   each start of a cycle is exact to within 1; while some are unavailable, the turns of the others keep their order
///   and close up.
/// - LEAST_REQUEST: the fewest requests in flight for its share; equals take turns.
/// - POWER_OF_TWO_CHOICES: of two drawn by share, the one with the fewer requests in flight for its share.
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

    /// The index of an endpoint of the group, or -1 when it has no candidate.
    static let pickFrom (group: PriorityGroup) balancer (view: 'view :> IEndpointView) panic ticket random =
        let place =
            match balancer with
            | Balancer.LeastRequest -> LeastRequest.pick group view panic ticket
            | Balancer.PowerOfTwoChoices -> PowerOfTwoChoices.pick group view panic random
            | Balancer.Random -> WeightedRandom.pick group view panic random
            | _ -> RoundRobin.pick group view panic ticket

        if place < 0 then -1 else group.Members[place]

    member _.Balancer = balancer

    /// How many endpoints the set has.
    member _.Count = ranks.Length

    /// The index of the endpoint to send the request to, or -1 when it has tried all.
    ///
    /// `ticket` comes from a counter of the backend that is incremented by each request (it may overflow). A request
    /// keeps its ticket when it is sent to another endpoint, since retries would disturb the turns of the others.
    /// `random` is 64 random bits; the same bits give the same choice.
    member _.Pick<'view when 'view: struct and 'view :> IEndpointView>
        (view: 'view, ticket: uint64, random: uint64)
        : int =
        let mutable picked = -1
        let mutable group = 0

        while picked < 0 && group < groups.Length do
            picked <- pickFrom groups[group] balancer view false ticket random
            group <- group + 1

        group <- 0

        while picked < 0 && group < groups.Length do
            picked <- pickFrom groups[group] balancer view true ticket random
            group <- group + 1

        picked
