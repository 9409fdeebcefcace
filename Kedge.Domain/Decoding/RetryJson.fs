namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The fields that define how long requests may take and when they are retried.
[<RequireQualifiedAccess>]
module internal RetryJson =

    open Decode

    let methods =
        [
            "IDEMPOTENT", RetryMethods.Idempotent
            "ANY", RetryMethods.Any
            "IDEMPOTENCY_KEY", RetryMethods.IdempotencyKey
        ]

    let size: Decoder<uint32> =
        {
            Default = 0u
            Read =
                fun decoding path node ->
                    let parsed =
                        match node.Value with
                        | JsonString text -> ByteSize.tryParse text
                        | _ -> ValueNone

                    match parsed with
                    | ValueSome size -> size
                    | ValueNone ->
                        let rule = "must be a size such as \"64KiB\", \"1MiB\" or \"0B\""
                        decoding.Report(node.Start, path, Malformed(rule, decoding.Found node))
                        0u
        }

    let timeouts: Decoder<Timeouts> =
        message (
            fields {
                let! request = field "request" duration
                and! attempt = field "attempt" duration
                return { Request = request; Attempt = attempt }
            }
        )

    let private backoff: Decoder<RetryBackoff> =
        message (
            fields {
                let! first = field "base" duration
                and! longest = field "max" duration
                return { Base = first; Max = longest }
            }
        )

    let private retryFields: Fields<Retry> =
        fields {
            let! attempts = field "attempts" (number NumberRange.attempts)
            and! on = field "on" (list text)
            and! methods = field "methods" (enumeration methods enum<RetryMethods>)
            and! maxBody = optional "max_body" size
            and! backoff = optional "backoff" backoff

            return
                {
                    Attempts = attempts
                    On = on
                    Methods = methods
                    MaxBody = maxBody
                    Backoff = backoff
                }
        }

    let retry: Decoder<Retry> = message retryFields

    let grpcRetry: Decoder<GrpcRetry> =
        message (
            fields {
                let! retry = retryFields

                and! on =
                    field "grpc_on" (list (enumeration ActionJson.grpcStatuses enum<GrpcStatus>))

                return { Retry = retry; GrpcOn = on }
            }
        )

    let budget: Decoder<RetryBudget> =
        message (
            fields {
                let! percent = optional "percent" (number NumberRange.percent)
                and! interval = field "interval" duration
                and! floor = optional "min_per_second" (number NumberRange.perSecond)

                return
                    {
                        Percent = percent
                        Interval = interval
                        MinPerSecond = floor
                    }
            }
        )
