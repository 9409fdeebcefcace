namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The listeners whose requests a route matches. The file's `listener` needs no parsing, so it is its own matcher.
[<RequireQualifiedAccess>]
module ListenerMatcher =

    /// `listener` is the request's, and never `Any`.
    let inline holds (expected: Listener) (listener: Listener) : bool = expected = Listener.Any || expected = listener

    let text (listener: Listener) : string =
        match listener with
        | Listener.Tls -> "tls"
        | Listener.Plain -> "plain"
        | _ -> "any"

    /// Why the request's listener does not match; none when it does.
    let mismatch (expected: Listener) (listener: Listener) : Mismatch voption =
        Mismatch.unless (holds expected listener) "listener" (text expected) (text listener)
