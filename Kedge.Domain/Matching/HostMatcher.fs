namespace Kedge.Domain

open System

/// Which request hosts a route takes.
[<Struct>]
type HostMatcher =
    | AnyHost
    /// In lower case, without port, brackets or trailing dot.
    | ExactHost of host: string

    /// `host` is a request's host without port and brackets; one trailing dot does not count. Never allocates.
    member matcher.Holds(host: ReadOnlySpan<char>) : bool =
        match matcher with
        | AnyHost -> true
        | ExactHost expected ->
            let host =
                if host.EndsWith(".".AsSpan()) then
                    host.Slice(0, host.Length - 1)
                else
                    host

            MemoryExtensions.Equals(host, expected.AsSpan(), StringComparison.OrdinalIgnoreCase)
