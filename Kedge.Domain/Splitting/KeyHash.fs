namespace Kedge.Domain

open System

/// The 64-bit hash of split keys. Its values never change: replicas, versions and restarts of kedge agree on them.
/// FNV-1a over octets, then the finalizer of SplitMix64, since the upper bits of FNV-1a alone depend little on the last
/// octets.
[<RequireQualifiedAccess>]
module KeyHash =

    [<Literal>]
    let private Basis = 0xcbf29ce484222325UL

    [<Literal>]
    let private Prime = 0x100000001b3UL

    let inline private add (hash: uint64) (octet: int) : uint64 = (hash ^^^ uint64 octet) * Prime

    let internal mix (value: uint64) : uint64 =
        let value = (value ^^^ (value >>> 30)) * 0xbf58476d1ce4e5b9UL
        let value = (value ^^^ (value >>> 27)) * 0x94d049bb133111ebUL
        value ^^^ (value >>> 31)

    /// A non-ASCII character counts as two octets.
    let private addText (hash: uint64) (text: ReadOnlySpan<char>) : uint64 =
        let mutable hash = hash

        for c in text do
            hash <- add hash (int c &&& 0xff)

            if c > '\127' then
                hash <- add hash (int c >>> 8)

        hash

    /// Never allocates.
    let ofText (text: ReadOnlySpan<char>) : uint64 = mix (addText Basis text)

    /// The hash of two texts; no other two texts are expected to have the same one.
    let internal ofTexts (first: string) (second: string) : uint64 =
        let hash = addText Basis (first.AsSpan())
        mix (addText (add hash 0xff) (second.AsSpan()))

    /// The hash of the value of a query parameter: for ASCII, the same as `ofText` of the decoded value. Never
    /// allocates.
    let ofQueryValue (value: ReadOnlySpan<char>) : uint64 =
        let mutable hash = Basis
        let mutable at = 0

        while at < value.Length do
            let struct (octet, length) = QueryText.octetAt value at

            if octet >= 0 then
                hash <- add hash octet
            else
                hash <- addText hash (value.Slice(at, 1))

            at <- at + length

        mix hash
