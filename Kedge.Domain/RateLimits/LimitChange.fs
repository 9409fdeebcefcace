namespace Kedge.Domain

/// What a change of rate limits means for callers.
[<RequireQualifiedAccess>]
type LimitChange =
    | Same
    /// Callers may send at most as much as before, and some less.
    | Tightened
    /// Callers may send at least as much as before, and some more.
    | Loosened
    /// Neither.
    | Mixed

    /// A word for reports; empty when nothing changes.
    member change.Text: string =
        match change with
        | Same -> ""
        | Tightened -> "tightened"
        | Loosened -> "loosened"
        | Mixed -> "changed"

[<RequireQualifiedAccess>]
module LimitChange =

    let private enforced (limits: RateLimit list) = limits |> List.filter (fun limit -> not limit.Shadow)

    /// Whether the limit allows at most what the other allows, for the same keys. Limit 1 in 2 s allows as many
    /// requests as limit 2 in 4 s.
    let private isWithin (limit: RateLimit) (other: RateLimit) : bool =
        let perPeriods (a: RateLimit) (b: RateLimit) = bigint a.Limit * bigint b.Period.Ticks

        limit.Key = other.Key
        && limit.OnMissingKey = other.OnMissingKey
        && limit.MaxKeys = other.MaxKeys
        && limit.Burst <= other.Burst
        && perPeriods limit other <= perPeriods other limit
        && (limit.Scale = other.Scale || limit.Scale = Decoded.LimitScale.AllReplicas)

    /// Whether the others allow everything that the limits allow.
    let private areWithin (limits: RateLimit list) (others: RateLimit list) : bool =
        enforced others
        |> List.forall (fun other -> enforced limits |> List.exists (fun limit -> isWithin limit other))

    /// What it means to replace the rate limits of a route. Their names do not matter, nor do limits in shadow mode.
    let ofLimits (before: RateLimit list) (after: RateLimit list) : LimitChange =
        match areWithin after before, areWithin before after with
        | true, true -> LimitChange.Same
        | true, false -> LimitChange.Tightened
        | false, true -> LimitChange.Loosened
        | false, false -> LimitChange.Mixed
