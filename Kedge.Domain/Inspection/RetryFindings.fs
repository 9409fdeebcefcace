namespace Kedge.Domain

open System
open System.Collections.Generic
open System.Net

/// What `kedge check` reports about timeouts and retries.
[<AbstractClass; Sealed>]
type RetryFindings private () =

    /// Methods that are not idempotent. The first one that a route takes shows that it repeats such requests.
    static let notIdempotent = [ "POST"; "PATCH" ]

    /// Finds a request that reaches a route, by route and method.
    static let witnesses (configuration: Configuration) (semantics: RouteSemantics<'route, 'request>) =
        let routes = semantics.Routes configuration.Director
        let conditions = lazy (routes |> Array.map semantics.Conditions)
        let space = lazy (RouteSemantics.space semantics conditions.Value)
        let winner = lazy (semantics.Winner routes)

        fun route method ->
            let own = conditions.Value[route]

            if own.Methods.IsEmpty || List.contains method own.Methods then
                space.Value.Representatives { own with Methods = [ method ] }
                |> Seq.map semantics.Request
                |> Seq.tryFind (fun request -> winner.Value request = route)
                |> Option.map (semantics.Wrap >> RequestText.render)
            else
                None

    /// Whether a backend never has more than one endpoint.
    static let hasOneEndpoint (backend: BackendInfo) =
        match backend.Resolver with
        | Decoded.Host(name, _) -> fst (IPAddress.TryParse name)
        | _ -> false

    static let ofRoutes (configuration: Configuration) (semantics: RouteSemantics<'route, 'request>) =
        let list = CheckedList.Routes(configuration, semantics.Protocol)
        let routes = semantics.Routes configuration.Director
        let witness = witnesses configuration semantics

        [
            for route in 0 .. routes.Length - 1 do
                let outcome = semantics.Outcome routes[route]
                let policies = outcome.Policies

                let finding severity kind part message taken = list.Finding(severity, kind, route, part, message, taken)

                if semantics.Protocol = Protocol.Grpc && policies.RequestTimeout > TimeSpan.Zero then
                    finding
                        Severity.Info
                        "timeout-ends-streams"
                        [ Field "timeouts"; Field "request" ]
                        $"ends each call after {Duration.Format policies.RequestTimeout}, long streams too; they need a route with \"0s\""
                        []

                match policies.Retry with
                | None -> ()
                | Some policy ->
                    if semantics.Protocol = Protocol.Http && policy.Methods = Decoded.RetryMethods.Any then
                        match List.tryPick (witness route) notIdempotent with
                        | Some taken ->
                            finding
                                Severity.Warning
                                "retry-not-idempotent"
                                [ Field "retry"; Field "methods" ]
                                "the backend may process a request twice that is not idempotent"
                                [ taken ]
                        | None -> ()

                    if
                        policies.RequestTimeout > TimeSpan.Zero
                        && int64 policy.Attempts * policies.AttemptTimeout.Ticks > policies.RequestTimeout.Ticks
                    then
                        finding
                            Severity.Info
                            "retries-outlast-request"
                            [ Field "retry"; Field "attempts" ]
                            $"{policy.Attempts} attempts of {Duration.Format policies.AttemptTimeout} take longer than the request may, {Duration.Format policies.RequestTimeout}"
                            []

                    let alone =
                        configuration.Backends[semantics.Protocol]
                        |> Seq.filter (fun backend -> List.contains backend.Name outcome.Action.Backends)
                        |> Seq.filter hasOneEndpoint

                    for backend in alone do
                        finding
                            Severity.Warning
                            "retry-without-alternative"
                            [ Field "retry" ]
                            $"{backend.Name} is one address, so each retry goes to the endpoint that has just failed"
                            []
        ]

    /// `retry-not-idempotent`, `retries-outlast-request`, `retry-without-alternative`, `timeout-ends-streams`.
    static member Findings(configuration: Configuration) : IReadOnlyList<Finding> =
        [|
            yield! ofRoutes configuration RouteSemantics.http
            yield! ofRoutes configuration RouteSemantics.grpc
        |]
