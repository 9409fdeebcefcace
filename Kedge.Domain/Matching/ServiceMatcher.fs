namespace Kedge.Domain

open System

/// Which gRPC methods a route takes. A call's path is `/package.Service/Method`.
[<Struct>]
type ServiceMatcher =
    | AnyService
    /// `package.Service`
    | ExactService of service: string
    /// What stands before the trailing `*`; compared with `package.Service`.
    | ServicePrefix of servicePrefix: string
    /// `package.Service/Method`
    | ExactMethod of method: string
    /// What stands before the trailing `*`, with a `/` in it; compared with `package.Service/Method`.
    | MethodPrefix of methodPrefix: string

    /// `service` is `package.Service`, `fullMethod` is `package.Service/Method`.
    member matcher.Holds(service: ReadOnlySpan<char>, fullMethod: ReadOnlySpan<char>) : bool =
        match matcher with
        | AnyService -> true
        | ExactService expected -> service.SequenceEqual(expected.AsSpan())
        | ServicePrefix prefix -> service.StartsWith(prefix.AsSpan(), StringComparison.Ordinal)
        | ExactMethod expected -> fullMethod.SequenceEqual(expected.AsSpan())
        | MethodPrefix prefix -> fullMethod.StartsWith(prefix.AsSpan(), StringComparison.Ordinal)
