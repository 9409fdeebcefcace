namespace Kedge.Domain

open System

/// "Did you mean": the known name that a mistyped one most likely means.
[<RequireQualifiedAccess>]
module Suggestion =

    /// A longer name is not a typo. This also bounds the work that a hostile file can cause.
    let private maxLength = 64

    /// The number of characters to insert, remove, replace or swap with their neighbour (optimal string alignment).
    let internal distance (one: string) (other: string) : int =
        let costs = Array2D.zeroCreate (one.Length + 1) (other.Length + 1)

        for i in 0 .. one.Length do
            costs[i, 0] <- i

        for j in 0 .. other.Length do
            costs[0, j] <- j

        for i in 1 .. one.Length do
            for j in 1 .. other.Length do
                let replaced = costs[i - 1, j - 1] + (if one[i - 1] = other[j - 1] then 0 else 1)
                let best = min replaced (min (costs[i - 1, j] + 1) (costs[i, j - 1] + 1))

                costs[i, j] <-
                    if i > 1 && j > 1 && one[i - 1] = other[j - 2] && one[i - 2] = other[j - 1] then
                        min best (costs[i - 2, j - 2] + 1)
                    else
                        best

        costs[one.Length, other.Length]

    /// A name without differences in spelling: `hostMatcher`, `Host-Matcher` and `host_matcher` give the same result.
    let private plain (name: string) =
        let text = Text.StringBuilder()

        name
        |> String.iteri (fun i c ->
            if c = '-' || c = ' ' then
                text.Append '_' |> ignore
            elif Char.IsAsciiLetterUpper c then
                if i > 0 && Char.IsAsciiLetterLower name[i - 1] then
                    text.Append '_' |> ignore

                text.Append(Char.ToLowerInvariant c) |> ignore
            else
                text.Append c |> ignore)

        text.ToString()

    /// The closest of the known names, if one is close: few edits away, or the only one that contains the name.
    let closest (known: string seq) (name: string) : string option =
        if name = "" || name.Length > maxLength then
            None
        else
            let wanted = plain name
            let maxEdits = max 1 (wanted.Length / 3)

            let near =
                known
                |> Seq.filter (fun candidate -> abs (candidate.Length - wanted.Length) <= maxEdits)
                |> Seq.map (fun candidate -> struct (distance wanted (plain candidate), candidate))
                |> Seq.filter (fun struct (edits, _) -> edits <= maxEdits)
                |> Seq.toList

            match near with
            | [] ->
                match
                    known
                    |> Seq.filter (fun candidate -> (plain candidate).Contains wanted)
                    |> Seq.toList
                with
                | [ only ] when wanted.Length >= 4 -> Some only
                | _ -> None
            | _ ->
                let struct (_, best) = near |> List.minBy (fun struct (edits, _) -> edits)
                Some best

    /// As `closest`, for C#: null when no name is close.
    [<CompiledName "ClosestOrNull">]
    let closestOrNull (known: string seq) (name: string) : string | null =
        match closest known name with
        | Some close -> close
        | None -> null
