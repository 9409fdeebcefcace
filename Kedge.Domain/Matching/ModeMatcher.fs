namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The proxy modes that a route matches. The file's `proxy_mode` needs no parsing, so it is its own matcher.
[<RequireQualifiedAccess>]
module ModeMatcher =

    /// `mode` is the request's, and never `Any`.
    let inline holds (expected: ProxyMode) (mode: ProxyMode) : bool = expected = ProxyMode.Any || expected = mode

    let text (mode: ProxyMode) : string =
        match mode with
        | ProxyMode.ReverseProxy -> "reverse"
        | ProxyMode.ForwardProxy -> "forward"
        | _ -> "any"

    /// Why the request's mode does not match; none when it does.
    let mismatch (expected: ProxyMode) (mode: ProxyMode) : Mismatch voption =
        Mismatch.unless (holds expected mode) "mode" (text expected) (text mode)
