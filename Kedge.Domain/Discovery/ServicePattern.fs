namespace Kedge.Domain.Discovery

open System
open Kedge.Domain

/// Compares the methods that `service_name_matcher`s take. Matchers are in canonical form.
[<RequireQualifiedAccess>]
module ServicePattern =

    /// The canonical form of all matchers that take the same methods: `a.S/*` is `a.S`.
    let canonical (matcher: ServiceMatcher) : ServiceMatcher =
        match matcher with
        | MethodPrefix prefix when prefix.EndsWith '/' -> ExactService(prefix.TrimEnd '/')
        | _ -> matcher

    /// Whether `wide` takes every method that `narrow` takes.
    let covers (wide: ServiceMatcher) (narrow: ServiceMatcher) : bool =
        let serviceOf (method: string) = method.Substring(0, method.IndexOf '/')
        let startsWith (prefix: string) (text: string) = text.StartsWith(prefix, StringComparison.Ordinal)

        match wide, narrow with
        | AnyService, _ -> true
        | _, AnyService -> false
        | ExactService s, ExactService t -> s = t
        | ExactService s, (ExactMethod m | MethodPrefix m) -> serviceOf m = s
        | ExactService _, ServicePrefix _ -> false
        | ServicePrefix p, (ExactService t | ServicePrefix t) -> startsWith p t
        | ServicePrefix p, (ExactMethod m | MethodPrefix m) -> startsWith p (serviceOf m)
        | ExactMethod m, ExactMethod n -> m = n
        | ExactMethod _, _ -> false
        | MethodPrefix p, (ExactMethod m | MethodPrefix m) -> startsWith p m
        | MethodPrefix _, _ -> false

    /// Orders matchers so that each precedes all others that cover it.
    let rank (matcher: ServiceMatcher) : struct (int * int * string) =
        match matcher with
        | ExactMethod m -> struct (0, 0, m)
        | MethodPrefix p -> struct (1, -p.Length, p)
        | ExactService s -> struct (2, 0, s)
        | ServicePrefix p -> struct (3, -p.Length, p)
        | AnyService -> struct (4, 0, "")
