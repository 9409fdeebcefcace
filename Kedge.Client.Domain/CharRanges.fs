namespace Kedge.Client.Domain

/// Characters from the first to the last.
type internal CharRange = (struct (char * char))

/// Sets of characters, as lists of ranges.
[<RequireQualifiedAccess>]
module internal CharRanges =

    let digits: CharRange list = [ struct ('0', '9') ]

    let word: CharRange list =
        [ struct ('0', '9'); struct ('A', 'Z'); struct ('_', '_'); struct ('a', 'z') ]

    let space: CharRange list =
        [ struct ('\t', '\n'); struct ('\012', '\013'); struct (' ', ' ') ]

    /// The gaps between ranges.
    let complement (ranges: CharRange list) =
        let sorted = ranges |> List.sortBy (fun (struct (low, _)) -> low)
        let gaps = ResizeArray<CharRange>()
        let mutable next = 0

        for struct (low, high) in sorted do
            if int low > next then
                gaps.Add(struct (char next, char (int low - 1)))

            next <- max next (int high + 1)

        if next <= 0xFFFF then
            gaps.Add(struct (char next, '\uFFFF'))

        List.ofSeq gaps

    /// The ranges, and the other case of each ASCII letter.
    let withOtherCase (ranges: CharRange list) =
        let shifted (low: char) (high: char) (first: char) (last: char) (by: int) =
            let low, high = max low first, min high last

            if low <= high then
                [ struct (char (int low + by), char (int high + by)) ]
            else
                []

        ranges
        @ (ranges
           |> List.collect (fun (struct (low, high)) -> shifted low high 'A' 'Z' 32 @ shifted low high 'a' 'z' -32))
