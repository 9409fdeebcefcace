namespace Kedge.Domain

open System

/// A backend that gets copies of the requests of a route. Nobody waits for its answers, and nobody sees them.
type RouteMirror =
    {
        Backend: string
        /// Of the requests that may be copied: 0 to 100.
        Percent: int
        /// The largest body of a request that is copied, in bytes.
        MaxBody: int
        /// Whether requests are copied whose method is not safe, too.
        UnsafeMethods: bool
        /// Whether a copy has the credentials of the caller.
        WithCredentials: bool
    }

    /// The most mirrors of a route.
    static member Most = 4

    /// Whether a request is meant to change nothing (RFC 9110, 9.2.1). Methods are case-sensitive.
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

/// Chooses the requests that a mirror gets. `salt` is what the route is called.
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

    /// As `ByKey`, from 64 random bits instead of a key.
    member _.ByDraw(random: uint64) : bool = isInShare random
