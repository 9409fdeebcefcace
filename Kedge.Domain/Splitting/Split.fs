namespace Kedge.Domain

open System
open Kedge.Domain.Decoded

/// A backend of a split.
type SplitBackend =
    {
        Name: string
        /// 0 to 1,000,000.
        Weight: uint32
    }

/// How the requests of a route are divided over its backends.
type Split =
    {
        /// At least one, each name once; at most `Split.MostBackends`. At least one weight is not 0.
        Backends: SplitBackend list
        /// None = each request is drawn at random.
        Key: SplitKey option
        OnUnavailable: OnUnavailable
    }

    /// The maximum number of backends of a split, as in Gateway API.
    static member MostBackends = 16

    /// The sum of the weights.
    member split.Total: uint64 =
        split.Backends |> List.sumBy (fun backend -> uint64 backend.Weight)

    /// The name of a key in reports: `cookie session`.
    static member KeyText(key: SplitKey) : string =
        match key with
        | SplitKey.Cookie name -> "cookie " + name
        | SplitKey.Header name -> "header " + name
        | SplitKey.Query name -> "query " + name
        | SplitKey.ClientAddress -> "client_address"
        | SplitKey.TokenSubject -> "token_subject"
        | SplitKey.ClientSan -> "client_san"

    /// The split in a few words: `shop 95, shop_next 5 by cookie session`.
    member split.Text: string =
        let backends =
            split.Backends
            |> List.map (fun backend -> $"{backend.Name} {backend.Weight}")
            |> String.concat ", "

        let key =
            match split.Key with
            | Some key -> " by " + Split.KeyText key
            | None -> ""

        let others =
            if split.OnUnavailable = OnUnavailable.Others then
                ", unavailable ones to the others"
            else
                ""

        backends + key + others

/// Chooses one of the backends of a split. `salt` identifies the route, so that two routes do not pick the same callers
/// first.
///
/// With a key, uses weighted rendezvous hashing: the backend with the greatest −weight / ln u wins, where u is uniform
/// in (0, 1) and depends only on the salt, the key and the backend's name. So raising a weight only moves callers to
/// this backend, lowering it only moves callers away from it, and no other callers move.
[<Sealed>]
type SplitChoice(split: Split, salt: string) =
    // Sorted by name, which decides between backends with the same score: the order in the file has no meaning.
    let order =
        split.Backends
        |> List.indexed
        |> List.sortWith (fun (_, a) (_, b) -> String.CompareOrdinal(a.Name, b.Name))
        |> List.map fst
        |> List.toArray

    let backends = List.toArray split.Backends
    let weights = backends |> Array.map (fun backend -> float backend.Weight)
    let seeds = backends |> Array.map (fun backend -> KeyHash.ofTexts salt backend.Name)

    /// An exponential variable of mean 1: −ln u.
    static member private Exponential(hash: uint64) : float =
        -Math.Log((float (hash >>> 11) + 0.5) * (1.0 / 9007199254740992.0))

    member _.Split: Split = split

    /// The index of the key's backend, among the backends whose bits are not set in `excluded`; -1 when there is none.
    /// Never chooses a backend of weight 0. Never allocates.
    member _.ByKey(key: uint64, excluded: uint32) : int =
        let mutable best = -1
        let mutable least = Double.PositiveInfinity

        for index in order do
            if weights[index] > 0.0 && excluded &&& (1u <<< index) = 0u then
                let score =
                    SplitChoice.Exponential(KeyHash.mix (KeyHash.mix (key + seeds[index]) ^^^ seeds[index]))
                    / weights[index]

                if score < least then
                    least <- score
                    best <- index

        best

    /// Like `ByKey`, with 64 random bits instead of a key: chooses each backend in proportion to its weight.
    member _.ByDraw(random: uint64, excluded: uint32) : int =
        let mutable total = 0UL

        for index in 0 .. backends.Length - 1 do
            if excluded &&& (1u <<< index) = 0u then
                total <- total + uint64 backends[index].Weight

        if total = 0UL then
            -1
        else
            let mutable low = 0UL
            let mutable remaining = Math.BigMul(random, total, &low)
            let mutable found = -1
            let mutable index = 0

            while found < 0 do
                if excluded &&& (1u <<< index) = 0u then
                    let weight = uint64 backends[index].Weight

                    if remaining < weight then
                        found <- index
                    else
                        remaining <- remaining - weight

                index <- index + 1

            found
