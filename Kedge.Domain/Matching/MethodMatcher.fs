namespace Kedge.Domain

open System

/// The request methods that a route matches; empty = any. Methods are case-sensitive tokens (RFC 9110, 9.1), so the
/// texts of a file are their own matchers.
[<RequireQualifiedAccess>]
module MethodMatcher =

    /// The methods of RFC 9110, and PATCH (RFC 5789).
    let private wellKnown =
        [
            "GET"
            "HEAD"
            "POST"
            "PUT"
            "DELETE"
            "CONNECT"
            "OPTIONS"
            "TRACE"
            "PATCH"
        ]

    /// Never allocates.
    let holds (expected: string array) (method: ReadOnlySpan<char>) : bool =
        let mutable found = expected.Length = 0
        let mutable next = 0

        while not found && next < expected.Length do
            found <- method.SequenceEqual(expected[next].AsSpan())
            next <- next + 1

        found

    let text (methods: string array) : string = String.concat "," methods

    /// Why the request's method does not match; none when it does, or when `expected` is empty.
    let mismatch (expected: string array) (method: string) : Mismatch voption =
        Mismatch.unless (holds expected (method.AsSpan())) "method" (String.concat " or " expected) method

    /// Reads an entry of `methods`. The error is the rule that the text breaks.
    let tryParse (text: string) : Result<string, string> =
        let upper = text.ToUpperInvariant()

        if not (HttpToken.isToken (text.AsSpan())) then
            Error "a request method, such as GET"
        elif text <> upper && List.contains upper wellKnown then
            Error $"a request method, whose case counts; did you mean {upper}?"
        elif text = "CONNECT" then
            Error "another method: a WebSocket over HTTP/2 counts as GET, and tunnels are a matter of the ad-hoc rules"
        else
            Ok text
