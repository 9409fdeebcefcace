namespace Kedge.Domain

open System

/// Which canonical request paths a route takes; several rules of a route are alternatives.
[<Struct>]
type PathRule =
    | ExactPath of path: string
    /// What stands before the trailing `*`.
    | PathPrefix of prefix: string

    member rule.Holds(path: ReadOnlySpan<char>) : bool =
        match rule with
        | ExactPath expected -> path.SequenceEqual(expected.AsSpan())
        | PathPrefix prefix -> path.StartsWith(prefix.AsSpan(), StringComparison.Ordinal)
