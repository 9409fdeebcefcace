namespace Kedge.Domain

open System

/// Sizes in the configuration files: a whole number and a unit (`B`, `KiB`, `MiB`), such as `64KiB`.
[<RequireQualifiedAccess>]
module internal ByteSize =

    // The longest unit names first, since each ends with `B`.
    let private units = [ "KiB", 1024u; "MiB", 1024u * 1024u; "B", 1u ]

    /// None when the text is not a size, or is one of 4 GiB or more.
    let tryParse (text: string) : uint32 voption =
        match
            units
            |> List.tryFind (fun (unit, _) -> text.EndsWith(unit, StringComparison.Ordinal))
        with
        | Some(unit, bytes) ->
            match WholeNumber.parse (text.Substring(0, text.Length - unit.Length)) with
            | Ok count when uint64 count * uint64 bytes <= uint64 UInt32.MaxValue -> ValueSome(count * bytes)
            | _ -> ValueNone
        | None -> ValueNone

    /// In the largest unit that needs no fraction.
    let format (size: uint32) : string =
        if size = 0u then
            "0B"
        else
            let unit, bytes =
                units
                |> List.sortByDescending snd
                |> List.find (fun (_, bytes) -> size % bytes = 0u)

            $"{size / bytes}{unit}"
