namespace Kedge.Domain

open System
open System.Collections.Generic

/// Weights, and the order of turns in which a weighted round robin follows them.
[<RequireQualifiedAccess>]
module Schedule =

    /// The most turns that a cycle of this many endpoints has, apart from the minimum of one turn for each endpoint.
    /// Weights with a longer cycle are rounded down to fit, which loses about a hundredth of a share, but never an
    /// endpoint.
    let maxTurns (endpoints: int) : int = max 1024 (16 * endpoints)

    /// The shares that SRV weights (0 to 65535) stand for. All endpoints of weight 0 together have the share that RFC
    /// 2782 gives them: one weight unit. When every weight is 0, all shares are equal.
    let shares (weights: uint16 array) : uint64 array =
        let zeros = weights |> Array.sumBy (fun weight -> if weight = 0us then 1UL else 0UL)

        if zeros = uint64 weights.Length then
            Array.create weights.Length 1UL
        else
            let unit = max 1UL zeros

            weights
            |> Array.map (fun weight -> if weight = 0us then 1UL else uint64 weight * unit)

    let rec private greatestCommonDivisor (a: uint64) (b: uint64) =
        if b = 0UL then a else greatestCommonDivisor b (a % b)

    /// How many turns of a cycle each endpoint has: at least one, and in proportion to the shares, which are all
    /// positive.
    let turns (shares: uint64 array) : int array =
        if shares.Length = 0 then
            [||]
        else
            let divisor = shares |> Array.reduce greatestCommonDivisor
            let total = Array.sum shares
            let limit = uint64 (maxTurns shares.Length)

            if total / divisor <= limit then
                shares |> Array.map (fun share -> int (share / divisor))
            else
                shares
                |> Array.map (fun share -> max 1 (int (Math.BigMul(share, limit) / UInt128.op_Implicit total)))

    /// A cycle of turns, as indexes into `turns`, in which each index has its number of turns, evenly spread: after any
    /// number of turns from the start of a cycle, each has had its exact share of them, rounded up or down.
    ///
    /// The j-th of an endpoint's n turns in a cycle of length c must fall in [⌊(j-1)c/n⌋, ⌈jc/n⌉); choosing the
    /// interval that ends first, among those that have begun, meets all of them (Baruah et al., "Proportionate
    /// progress").
    let cycle (turns: int array) : int array =
        let length = Array.sum turns

        if length = turns.Length then
            Array.init length id
        else
            let result = Array.zeroCreate length
            // For each time, the indexes whose next interval begins then, as linked lists: each index is in at most
            // one.
            let firstAt = Array.create length -1
            let next = Array.create turns.Length -1
            let had = Array.zeroCreate turns.Length
            let begun = PriorityQueue<int, struct (int64 * int)>()

            let await index =
                if had[index] < turns[index] then
                    let start = int (int64 had[index] * int64 length / int64 turns[index])
                    next[index] <- firstAt[start]
                    firstAt[start] <- index

            for index in 0 .. turns.Length - 1 do
                await index

            for time in 0 .. length - 1 do
                let mutable waiting = firstAt[time]

                while waiting >= 0 do
                    let count = int64 turns[waiting]
                    let finish = (int64 (had[waiting] + 1) * int64 length + count - 1L) / count
                    begun.Enqueue(waiting, struct (finish, waiting))
                    waiting <- next[waiting]

                let index = begun.Dequeue()
                result[time] <- index
                had[index] <- had[index] + 1
                await index

            result
