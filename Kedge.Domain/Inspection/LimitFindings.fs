namespace Kedge.Domain

open System.Collections.Generic

/// What `kedge check` reports about rate limits.
[<AbstractClass; Sealed>]
type LimitFindings private () =

    /// Why no request that the route takes has this part of a key; None when some may.
    static let neverThere (listener: Decoded.Listener) (outcome: Outcome) (part: KeyPart) : string option =
        let isPlain = listener = Decoded.Listener.Plain

        match outcome.Demands with
        | _ when part.IsClientSan && isPlain -> Some "there are no client certificates without TLS"
        | _ when part.IsOfToken && isPlain && outcome.Action.Backends.IsEmpty ->
            Some "on the PLAIN listener, a redirect or a fixed answer reads no token"
        | Some demands when part.IsOfToken && demands.Anonymous ->
            Some "the route is open to everyone and reads no token"
        | _ -> None

    static let ofRoutes (configuration: Configuration) (semantics: RouteSemantics<'route, 'request>) =
        let list = CheckedList.Routes(configuration, semantics.Protocol)

        [
            for info in list.Infos do
                match info.Limits with
                | NonNull limits ->
                    let route = (semantics.Routes configuration.Director)[info.Index]

                    for limit in limits.Limits do
                        let missing =
                            limit.Key
                            |> List.tryPick (fun part ->
                                neverThere (semantics.Listener route) (semantics.Outcome route) part
                                |> Option.map (fun reason -> struct (part, reason)))

                        match missing with
                        | Some(struct (part, reason)) ->
                            let consequence =
                                if limit.OnMissingKey = Decoded.OnMissingKey.Skip then
                                    "the limit never holds"
                                else
                                    "all requests share one bucket"

                            let message =
                                $"no request has the {part.Text} that the rate limit {limit.Name} asks for, so {consequence}: {reason}"

                            list.Finding(
                                Severity.Warning,
                                "limit-key-never-there",
                                info.Index,
                                [ Field "rate_limits" ],
                                message,
                                []
                            )
                        | None -> ()
                | Null -> ()
        ]

    static let unused (configuration: Configuration) =
        let used =
            HashSet<string>(
                [
                    for protocol in Protocol.All do
                        for info in configuration.Routes[protocol] do
                            match info.Limits with
                            | NonNull limits ->
                                for limit in limits.Limits do
                                    limit.Name
                            | Null -> ()
                ]
            )

        configuration.Director.RateLimits
        |> List.mapi (fun i limit -> i, limit)
        |> List.filter (fun (_, limit) -> not (used.Contains limit.Name))
        |> List.map (fun (i, limit) ->
            let at = configuration.DirectorSource.Locate [ Field "rate_limits"; Step.Index i ]
            let message = $"no route names the rate limit {limit.Name}"
            Finding(Severity.Warning, "unused-rate-limit", at, message, []))

    /// `unused-rate-limit` for a limit that no route names; `limit-key-never-there` for a route whose requests cannot
    /// have a part of the key of one of its limits.
    static member Findings(configuration: Configuration) : IReadOnlyList<Finding> =
        [|
            yield! ofRoutes configuration RouteSemantics.http
            yield! ofRoutes configuration RouteSemantics.grpc
            yield! unused configuration
        |]
