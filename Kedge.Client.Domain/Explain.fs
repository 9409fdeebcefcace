namespace Kedge.Client.Domain

open System
open System.Collections.Generic
open Kedge.Domain

/// Why a request goes where it goes.
[<Sealed>]
type Explanation internal (protocol: Protocol, target: Target, decision: Decision, lines: string list) =
    member _.Protocol = protocol
    member _.Target = target
    member _.Decision = decision

    /// One line for each route up to the one that decides: whether it matches, and if not, why.
    member _.Steps: IReadOnlyList<string> = lines

[<RequireQualifiedAccess>]
module Explain =

    let private mismatch (protocol: Protocol) (route: Route) (target: Target) =
        if not (route.Takes protocol) then
            $"is not for {protocol.DisplayName}"
        else
            match route.Rule with
            | RouteRule.Direct(key, _) -> $"{key} is neither {target.Host} nor {target.Authority}"
            | RouteRule.Regexp(pattern, _, _) -> $"{pattern.Text} matches neither {target.Host} nor {target.Authority}"
            | RouteRule.Suffix suffix -> $"{target.Host} is not like {suffix.Pattern}"
            | RouteRule.Single _ -> "takes every host"

    /// What the mapper decides for the target, with its reasons.
    [<CompiledName "Of">]
    let explain (mapper: Mapper) (protocol: Protocol) (target: Target) : Explanation =
        let decision = mapper.Decide(protocol, target)

        let before (last: int) =
            [
                for route in mapper.Routes do
                    if route.Index < last then
                        $"routes[{route.Index}] does not match: {mismatch protocol route target}"
            ]

        let lines =
            match decision with
            | Decision.Kedge(route, kedge) ->
                before route.Index
                @ [ $"routes[{route.Index}] matches ({route.Text}) and leads to {kedge.Url}" ]
            | Decision.BadMapping(route, reason) ->
                before route.Index
                @ [ $"routes[{route.Index}] matches ({route.Text}), but leads nowhere: {reason}" ]
            | Decision.Unmapped true -> [ "an IP address is never mapped" ]
            | Decision.Unmapped false -> before Int32.MaxValue

        Explanation(protocol, target, decision, lines)
