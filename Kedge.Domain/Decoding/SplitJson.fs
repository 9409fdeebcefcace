namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The fields that divide the requests of a route among several backends.
[<RequireQualifiedAccess>]
module internal SplitJson =

    open Decode

    let onUnavailable = [ "FAIL", OnUnavailable.Fail; "OTHERS", OnUnavailable.Others ]

    let backend: Decoder<WeightedBackend> =
        message (
            fields {
                let! name = field "name" text
                and! weight = optional "weight" (number NumberRange.weight)
                and! requestHeaders = optional "request_headers" HeaderJson.changes
                and! responseHeaders = optional "response_headers" HeaderJson.changes

                return
                    {
                        Name = name
                        Weight = weight
                        RequestHeaders = requestHeaders
                        ResponseHeaders = responseHeaders
                    }
            }
        )

    /// `true`, the only value that has a meaning.
    let private on (key: SplitKey) : Decoder<SplitKey> =
        {
            Default = key
            Read =
                fun decoding path node ->
                    match node.Value with
                    | JsonBool false ->
                        decoding.Report(node.Start, path, Malformed("must be true", decoding.Found node))
                    | _ -> flag.Read decoding path node |> ignore

                    key
        }

    let key: Decoder<SplitKey> =
        message (
            oneOf
                [
                    optional "cookie" (text.As SplitKey.Cookie)
                    optional "header" (text.As SplitKey.Header)
                    optional "query" (text.As SplitKey.Query)
                    optional "client_address" (on SplitKey.ClientAddress)
                    optional "token_subject" (on SplitKey.TokenSubject)
                    optional "client_san" (on SplitKey.ClientSan)
                ]
                SplitKey.ClientAddress
        )
