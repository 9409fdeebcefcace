namespace Kedge.Domain

open System

/// A backend that receives copies of a route's requests. kedge does not wait for its responses, and callers never see
/// them.
type RouteMirror =
    {
        Backend: string
        /// The percentage of the eligible requests to copy: 0 to 100.
        Percent: int
        /// The largest body of a copied request, in bytes.
        MaxBody: int
        /// Whether to copy requests with unsafe methods, too.
        UnsafeMethods: bool
        /// Whether a copy contains the caller's credentials.
        WithCredentials: bool
    }

    /// The maximum number of mirrors of a route.
    static member Most = 4

    /// Whether the method is safe: not meant to change anything (RFC 9110, 9.2.1). Methods are case-sensitive.
    static member IsSafe(method: string) : bool =
        match method with
        | "GET"
        | "HEAD"
        | "OPTIONS"
        | "TRACE" -> true
        | _ -> false

    /// Whether requests of this method may be copied: safe ones, or all but CONNECT.
    member mirror.Allows(method: string) : bool =
        RouteMirror.IsSafe method || (mirror.UnsafeMethods && method <> "CONNECT")

    /// The mirror in a few words: `shop_shadow 10 %, safe methods, body to 64KiB`.
    member mirror.Text: string =
        let methods =
            if mirror.UnsafeMethods then
                "all methods"
            else
                "safe methods"

        let credentials = if mirror.WithCredentials then ", with credentials" else ""
        let body = ByteSize.format (uint32 mirror.MaxBody)
        $"{mirror.Backend} {mirror.Percent} %%, {methods}, body to {body}{credentials}"

/// Chooses the requests that a mirror receives. `salt` identifies the route.
///
/// The choice depends neither on the choice among the backends of a split by the same key nor on other mirrors. Raising
/// the percentage only adds callers.
[<Sealed>]
type MirrorChoice(mirror: RouteMirror, salt: string) =
    let seed = KeyHash.ofTexts (salt + "\nmirror") mirror.Backend

    let isInShare (value: uint64) =
        let mutable low = 0UL
        Math.BigMul(value, 100UL, &low) < uint64 mirror.Percent

    member _.Mirror: RouteMirror = mirror

    /// Whether the requests with this key are copied. Never allocates.
    member _.ByKey(key: uint64) : bool = isInShare (KeyHash.mix (KeyHash.mix (key + seed) ^^^ seed))

    /// Like `ByKey`, with 64 random bits instead of a key.
    member _.ByDraw(random: uint64) : bool = isInShare random
