namespace Kedge.Domain

open System
open System.Collections.Generic
open System.Runtime.InteropServices
open System.Text

/// A hash that consumes a text from left to right, four characters at a time, so that the hashes of all its prefixes
/// cost one pass. The keys of a map come from the configuration and requests only look them up, so the hash need not
/// resist crafted collisions.
module internal TextHash =

    [<Literal>]
    let private Multiplier = 0x9E3779B97F4A7C15UL

    /// Characters consumed at a time.
    [<Literal>]
    let private Block = 4

    /// How many characters of a text of this length fill whole blocks.
    let inline blocks (length: int) = length &&& ~~~3

    /// Sets the bit that distinguishes lower from upper case in four characters. Some other characters become equal
    /// too, which is harmless in a hash.
    [<Literal>]
    let private CaseBits = 0x0020002000200020UL

    let inline private mix (state: uint64) (block: uint64) =
        let product = (state ^^^ block) * Multiplier
        product ^^^ (product >>> 29)

    let inline private fold (ignoreCase: bool) (block: uint64) = if ignoreCase then block ||| CaseBits else block

    /// Consumes the whole blocks between two positions, which are a multiple of four characters apart.
    let advance (ignoreCase: bool) (text: ReadOnlySpan<char>) (from: int) (upTo: int) (state: uint64) : uint64 =
        let octets = MemoryMarshal.AsBytes text
        let mutable state = state
        let mutable at = from

        while at < upTo do
            state <- mix state (fold ignoreCase (MemoryMarshal.Read<uint64>(octets.Slice(2 * at, 8))))
            at <- at + Block

        state

    /// The hash of the text up to `length`, when `state` has consumed all of its whole blocks.
    let finish (ignoreCase: bool) (text: ReadOnlySpan<char>) (length: int) (state: uint64) : int =
        let mutable rest = 0UL
        let mutable at = blocks length

        while at < length do
            rest <- (rest <<< 16) ||| uint64 text[at]
            at <- at + 1

        let hash = mix (state + uint64 length) (fold ignoreCase rest)
        int (hash >>> 32)

    let ofText (ignoreCase: bool) (text: ReadOnlySpan<char>) : int =
        let state = advance ignoreCase text 0 (blocks text.Length) 0UL
        finish ignoreCase text text.Length state

[<Struct; NoComparison; NoEquality>]
type internal TextSlot<'value> =
    {
        Hash: int
        /// Null in a free slot.
        Key: string | null
        Value: 'value
    }

/// An immutable map from texts, looked up by span and hash: open addressing with linear probing, at most half full.
/// With `ignoreCase`, the case of ASCII letters is ignored, a key or text with non-ASCII characters equals no other,
/// and the keys must differ in more than case.
[<Sealed>]
type internal TextMap<'value when 'value: not struct and 'value: not null>
    (ignoreCase: bool, entries: IReadOnlyCollection<KeyValuePair<string, 'value>>) =

    let slots: TextSlot<'value | null> array =
        let size =
            int (Numerics.BitOperations.RoundUpToPowerOf2(uint32 (2 * entries.Count)))

        Array.create (max size 1) { Hash = 0; Key = null; Value = null }

    let mask = slots.Length - 1

    do
        for entry in entries do
            let hash = TextHash.ofText ignoreCase (entry.Key.AsSpan())
            let mutable at = hash &&& mask

            while not (isNull slots[at].Key) do
                at <- (at + 1) &&& mask

            slots[at] <-
                {
                    Hash = hash
                    Key = entry.Key
                    Value = entry.Value
                }

    member _.Count = entries.Count

    /// The value of a key, or null. `hash` is the key's hash by `TextHash`.
    member _.Find(key: ReadOnlySpan<char>, hash: int) : 'value | null =
        let mutable at = hash &&& mask
        let mutable found = null
        let mutable searching = true

        while searching do
            let slot = &slots[at]

            match slot.Key with
            | null -> searching <- false
            | candidate ->
                if
                    slot.Hash = hash
                    && (if ignoreCase then
                            Ascii.EqualsIgnoreCase(key, candidate.AsSpan())
                        else
                            key.SequenceEqual(candidate.AsSpan()))
                then
                    found <- slot.Value
                    searching <- false
                else
                    at <- (at + 1) &&& mask

        found

    /// The value of a key, or null.
    member map.Find(key: ReadOnlySpan<char>) : 'value | null = map.Find(key, TextHash.ofText ignoreCase key)
