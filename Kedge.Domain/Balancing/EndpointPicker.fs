namespace Kedge.Domain

open Kedge.Domain.Decoded

/// Chooses the endpoint for a request. Created once for each endpoint set. Picking allocates nothing, and its cost is
/// linear in the number of endpoints (in `Schedule.maxTurns` with unequal weights and an unavailable endpoint).
///
/// What holds for every policy:
/// - An endpoint that the request has tried is never picked again.
/// - An unavailable one is picked only when every untried endpoint is unavailable (panic: a doubtful one is better than
///   none).
/// - The lowest priority with an available, untried endpoint is used; in a panic, the lowest with an untried one.
///
/// What each policy does within the priority, where `Schedule.shares` defines an endpoint's share:
/// - ROUND_ROBIN: the ticket decides. Over consecutive tickets with the same candidates, endpoints of equal weight get
///   the same number of requests, to within 1. The difference may grow by 1 with every change of the candidates in
///   between. With unequal weights, each cycle has the exact shares (within the bounds of `Schedule.turns`), and each
///   beginning of a cycle is exact to within 1; while some are unavailable, the turns of the others keep their order
///   and close up.
/// - LEAST_REQUEST: the endpoint with the fewest requests in flight for its share; equally loaded ones take turns.
/// - POWER_OF_TWO_CHOICES: of two endpoints drawn by share, the one with fewer requests in flight for its share.
/// - RANDOM: drawn by share.
[<Sealed>]
type EndpointPicker(balancer: Balancer, ranks: EndpointRank array) =
    let groups =
        ranks
        |> Array.indexed
        |> Array.groupBy (fun (_, rank) -> rank.Priority)
        |> Array.sortBy fst
        |> Array.map (fun (_, ranked) ->
            PriorityGroup(Array.map fst ranked, ranked |> Array.map (fun (_, rank) -> rank.Weight)))

    /// The index of an endpoint of the group, or -1 when the group has no candidate.
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
    /// `ticket` comes from a counter of the backend that each request increments (it may overflow). A request keeps its
    /// ticket when it is sent to another endpoint: a new ticket for each retry would disturb the turns of other
    /// requests. `random` is 64 random bits; the same bits give the same choice.
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
