namespace Kedge.Domain

/// Finds the entries of a list in the previous list: the same objects in the same order, except for a few that are new
/// or removed. Where more of them differ, entries are not found, and what depends on them is recompiled.
[<Sealed>]
type internal PreviousEntries<'entry when 'entry: not struct>(count: int, at: int -> 'entry) =

    /// The most entries that may be removed in a row.
    static let window = 64

    let mutable next = 0

    /// The entry's index in the previous list, or -1. Call it in the order of the list.
    member _.IndexOf(entry: 'entry) : int =
        let last = min count (next + window)
        let mutable index = next

        while index < last && not (obj.ReferenceEquals(at index, entry)) do
            index <- index + 1

        if index < last then
            next <- index + 1
            index
        else
            -1
