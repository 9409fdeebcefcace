namespace Kedge.Domain

open System.Collections.Generic

/// What `kedge check` reports about routes on the plain-HTTP listener.
[<AbstractClass; Sealed>]
type PlainRoutes private () =

    static let ofProtocol (configuration: Configuration) severity (semantics: RouteSemantics<'route, 'request>) =
        let list = CheckedList.Routes(configuration, semantics.Protocol)
        let routes = semantics.Routes configuration.Director
        let conditions = lazy (routes |> Array.map semantics.Conditions)
        let space = lazy (RouteSemantics.space semantics conditions.Value)
        let winner = lazy (semantics.Winner routes)

        // A request in clear text that reaches the route.
        let witness route =
            let plain =
                { conditions.Value[route] with
                    Listeners = [ Decoded.Listener.Plain ]
                }

            space.Value.Representatives plain
            |> Seq.map semantics.Request
            |> Seq.tryFind (fun request -> winner.Value request = route)
            |> Option.map (semantics.Wrap >> RequestText.render)

        [
            for route in 0 .. routes.Length - 1 do
                let listener = semantics.Listener routes[route]
                let outcome = semantics.Outcome routes[route]

                if listener <> Decoded.Listener.Tls && not outcome.Action.Backends.IsEmpty then
                    match witness route with
                    | Some witness ->
                        let message =
                            "its requests, and what they carry, may be read and changed on their way"

                        list.Finding(severity, "plain-exposed-route", route, [], message, [ witness ])
                    | None -> ()

                match outcome.Demands with
                | Some demands when listener = Decoded.Listener.Plain && not demands.ClientCertSans.IsEmpty ->
                    let part = [ Field "authorization"; Field "client_cert_sans" ]
                    let message = "no request can meet it: there are no client certificates without TLS"
                    list.Finding(Severity.Error, "demand-cannot-be-met", route, part, message, [])
                | _ -> ()
        ]

    /// `plain-exposed-route` for each route that forwards clear-text requests: a note, or an error when authorization
    /// is required; `demand-cannot-be-met` for a demand that no such request meets.
    static member Findings(configuration: Configuration, authorizationRequired: bool) : IReadOnlyList<Finding> =
        let severity =
            if authorizationRequired then
                Severity.Error
            else
                Severity.Info

        [|
            yield! ofProtocol configuration severity RouteSemantics.http
            yield! ofProtocol configuration severity RouteSemantics.grpc
        |]
