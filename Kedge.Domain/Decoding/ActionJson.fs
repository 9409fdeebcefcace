namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The fields of `director.json` that define which listeners a route applies to and what it does without a backend.
[<RequireQualifiedAccess>]
module internal ActionJson =

    open Decode

    let listeners =
        [ "TLS", Listener.Tls; "PLAIN", Listener.Plain; "ANY", Listener.Any ]

    let grpcStatuses =
        [
            "OK", GrpcStatus.Ok
            "CANCELLED", GrpcStatus.Cancelled
            "UNKNOWN", GrpcStatus.Unknown
            "INVALID_ARGUMENT", GrpcStatus.InvalidArgument
            "DEADLINE_EXCEEDED", GrpcStatus.DeadlineExceeded
            "NOT_FOUND", GrpcStatus.NotFound
            "ALREADY_EXISTS", GrpcStatus.AlreadyExists
            "PERMISSION_DENIED", GrpcStatus.PermissionDenied
            "RESOURCE_EXHAUSTED", GrpcStatus.ResourceExhausted
            "FAILED_PRECONDITION", GrpcStatus.FailedPrecondition
            "ABORTED", GrpcStatus.Aborted
            "OUT_OF_RANGE", GrpcStatus.OutOfRange
            "UNIMPLEMENTED", GrpcStatus.Unimplemented
            "INTERNAL", GrpcStatus.Internal
            "UNAVAILABLE", GrpcStatus.Unavailable
            "DATA_LOSS", GrpcStatus.DataLoss
            "UNAUTHENTICATED", GrpcStatus.Unauthenticated
        ]

    let listener: Decoder<Listener> = enumeration listeners enum<Listener>

    let private pathChange: Decoder<PathChange> =
        message (
            oneOf
                [
                    optional "replace_full" (text.As ReplaceFull)
                    optional "replace_prefix" (text.As ReplacePrefix)
                ]
                (ReplaceFull "/")
        )

    let redirect: Decoder<Redirect> =
        message (
            fields {
                let! scheme = field "scheme" text
                and! host = field "host" text
                and! port = field "port" optionalPort
                and! path = optional "path" pathChange
                and! status = field "status" (number NumberRange.status)
                and! stripQuery = field "strip_query" flag

                return
                    {
                        Scheme = scheme
                        Host = host
                        Port = port
                        Path = path
                        Status = status
                        StripQuery = stripQuery
                    }
            }
        )

    let respond: Decoder<Respond> =
        message (
            fields {
                let! status = field "status" (number NumberRange.status)
                and! body = field "body" text
                and! bodyFile = field "body_file" text
                and! contentType = field "content_type" text
                and! headers = field "headers" textMap
                and! retryAfter = field "retry_after" duration

                return
                    {
                        Status = status
                        Body = body
                        BodyFile = bodyFile
                        ContentType = contentType
                        Headers = headers
                        RetryAfter = retryAfter
                    }
            }
        )

    let grpcRespond: Decoder<GrpcRespond> =
        message (
            fields {
                let! status = field "grpc_status" (enumeration grpcStatuses enum<GrpcStatus>)
                and! message = field "message" text

                return
                    {
                        GrpcStatus = status
                        Message = message
                    }
            }
        )
