namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The entries of `mirror`.
[<RequireQualifiedAccess>]
module internal MirrorJson =

    open Decode

    let mirror: Decoder<Mirror> =
        message (
            fields {
                let! backend = field "backend_name" text
                and! percent = optional "percent" (number NumberRange.percent)
                and! maxBody = optional "max_body" RetryJson.size
                and! unsafeMethods = field "unsafe_methods" flag
                and! withCredentials = field "with_credentials" flag

                return
                    {
                        BackendName = backend
                        Percent = percent
                        MaxBody = maxBody
                        UnsafeMethods = unsafeMethods
                        WithCredentials = withCredentials
                    }
            }
        )
