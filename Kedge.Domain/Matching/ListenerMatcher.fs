namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The listeners whose requests a route takes: the file's `listener` needs no parsing, so it is its own matcher.
[<RequireQualifiedAccess>]
module ListenerMatcher =

    /// `listener` is a request's, which is never `Any`.
    let inline holds (expected: Listener) (listener: Listener) : bool = expected = Listener.Any || expected = listener

    let text (listener: Listener) : string =
        match listener with
        | Listener.Tls -> "tls"
        | Listener.Plain -> "plain"
        | _ -> "any"

    /// Why a route for the expected listeners does not take the request; none when it does.
    let mismatch (expected: Listener) (listener: Listener) : Mismatch voption =
        Mismatch.unless (holds expected listener) "listener" (text expected) (text listener)
