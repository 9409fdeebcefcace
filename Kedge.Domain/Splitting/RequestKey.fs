namespace Kedge.Domain

open System

/// Finds the texts that split keys name, without allocating.
[<RequireQualifiedAccess>]
module RequestKey =

    /// The position of the value of the first cookie with this name in a `Cookie` header (RFC 6265, 5.4): its start and
    /// length. The length is 0 when there is no such cookie or its value is empty. Cookie names are case-sensitive.
    let cookie (header: ReadOnlySpan<char>) (name: ReadOnlySpan<char>) : struct (int * int) =
        let mutable at = 0
        let mutable found = struct (0, 0)
        let mutable isDone = false

        while not isDone && at < header.Length do
            let length =
                match header.Slice(at).IndexOf ';' with
                | -1 -> header.Length - at
                | length -> length

            let pair = header.Slice(at, length)
            let equals = pair.IndexOf '='

            if equals > 0 && pair.Slice(0, equals).Trim(' ').SequenceEqual name then
                let value = pair.Slice(equals + 1)
                let trimmed = value.TrimStart ' '
                let start = at + equals + 1 + value.Length - trimmed.Length
                found <- struct (start, trimmed.TrimEnd(' ').Length)
                isDone <- true

            at <- at + length + 1

        found

    /// The position of the still encoded value of the first parameter with this name in a query without its `?`: its
    /// start and length. The length is 0 as for a cookie. `name` is the decoded octets.
    let query (query: ReadOnlySpan<char>) (name: ReadOnlySpan<byte>) : struct (int * int) =
        let mutable at = 0
        let mutable found = struct (0, 0)
        let mutable isDone = false

        while not isDone && at < query.Length do
            let length =
                match query.Slice(at).IndexOf '&' with
                | -1 -> query.Length - at
                | length -> length

            let parameter = query.Slice(at, length)
            let equals = parameter.IndexOf '='
            let own = if equals < 0 then parameter else parameter.Slice(0, equals)

            if parameter.Length > 0 && QueryText.equals own name then
                if equals >= 0 then
                    found <- struct (at + equals + 1, length - equals - 1)

                isDone <- true

            at <- at + length + 1

        found
