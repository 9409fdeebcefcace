namespace Kedge.Domain

/// The values that a numeric field of the configuration may have; both ends are inclusive. Decoding names the range in
/// the error for a number that does not fit into 32 bits; validation checks it.
[<Struct>]
type internal NumberRange =
    {
        Min: uint32
        Max: uint32
    }

    override range.ToString() = $"{range.Min} to {range.Max}"

    member range.Includes(value: uint32) = range.Min <= value && value <= range.Max

[<RequireQualifiedAccess>]
module internal NumberRange =

    let port = { Min = 1u; Max = 65535u }

    /// 0 = unset.
    let optionalPort = { port with Min = 0u }

    /// Of `max_requests`; 0 = no limit.
    let requests =
        {
            Min = 0u
            Max = uint32 System.Int32.MaxValue
        }

    /// Of consecutive probes or failures; 0 = the default.
    let threshold = { Min = 0u; Max = 1000u }

    /// 0 = the default.
    let percent = { Min = 0u; Max = 100u }

    /// Of the requests in a period, the burst, and the keys of a rate limit.
    let rateLimit = { Min = 1u; Max = 1_000_000u }

    /// The bits of an IPv6 address that count; 0 = the default.
    let ipv6Prefix = { Min = 0u; Max = 128u }

    /// Of a response; statuses below 200 are interim (RFC 9110, 15.2).
    let status = { Min = 200u; Max = 599u }

    /// Of `retry.attempts`.
    let attempts = { Min = 1u; Max = 10u }

    /// Of one of several backends; the range of Gateway API.
    let weight = { Min = 0u; Max = 1_000_000u }

    /// Of `min_per_second`.
    let perSecond = { Min = 0u; Max = 10000u }
