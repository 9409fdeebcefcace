namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The fields that change headers.
[<RequireQualifiedAccess>]
module internal HeaderJson =

    open Decode

    let changes: Decoder<HeaderChanges> =
        message (
            fields {
                let! set = field "set" textMap
                and! add = field "add" textMap
                and! remove = field "remove" (list text)

                return
                    {
                        Set = set
                        Add = add
                        Remove = remove
                    }
            }
        )
