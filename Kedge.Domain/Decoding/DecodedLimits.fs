namespace Kedge.Domain.Decoded

open System

/// What happens to a request that lacks a part of a rate limit's key. The numbers are those of the enum in JSON.
type OnMissingKey =
    /// All such requests share one bucket.
    | Share = 0
    /// The limit does not apply to it.
    | Skip = 1

/// Whether each replica of kedge allows the full limit, or its share of it. The numbers are those of the enum in JSON.
type LimitScale =
    | Replica = 0
    | AllReplicas = 1

/// How many requests are allowed in a period, for each key.
type RateLimit =
    {
        /// For routes, metrics and reports.
        Name: string
        /// How many requests a period allows: 1 to 1,000,000.
        Limit: uint32
        /// 1 s to 24 h; zero = 1 s.
        Period: TimeSpan
        /// How many requests may come at once; 0 = as many as one second allows, but at least 1.
        Burst: uint32
        /// What distinguishes callers: `client_address`, `header:x-user`. Empty = one bucket for all.
        Key: string list
        /// How many bits of an IPv6 address count; 0 = 64.
        Ipv6Prefix: uint32
        OnMissingKey: OnMissingKey
        /// How many keys are tracked at the same time; 0 = 100,000.
        MaxKeys: uint32
        Scale: LimitScale
        /// Whether it only counts the requests that it would refuse.
        Shadow: bool
    }
