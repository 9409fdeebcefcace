namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The fields of an entry of `rate_limits` in `director.json`.
[<RequireQualifiedAccess>]
module internal RateLimitJson =

    open Decode

    let onMissingKey = [ "SHARE", OnMissingKey.Share; "SKIP", OnMissingKey.Skip ]

    let scales =
        [ "REPLICA", LimitScale.Replica; "ALL_REPLICAS", LimitScale.AllReplicas ]

    let rateLimit: Decoder<RateLimit> =
        message (
            fields {
                let! name = field "name" text
                and! limit = field "limit" (number NumberRange.rateLimit)
                and! period = field "period" duration
                and! burst = field "burst" (number NumberRange.rateLimit)
                and! key = field "key" (list text)
                and! ipv6Prefix = field "ipv6_prefix" (number NumberRange.ipv6Prefix)

                and! onMissingKey =
                    field "on_missing_key" (enumeration onMissingKey enum<OnMissingKey>)

                and! maxKeys = field "max_keys" (number NumberRange.rateLimit)
                and! scale = field "scale" (enumeration scales enum<LimitScale>)
                and! shadow = field "shadow" flag

                return
                    {
                        RateLimit.Name = name
                        Limit = limit
                        Period = period
                        Burst = burst
                        Key = key
                        Ipv6Prefix = ipv6Prefix
                        OnMissingKey = onMissingKey
                        MaxKeys = maxKeys
                        Scale = scale
                        Shadow = shadow
                    }
            }
        )
