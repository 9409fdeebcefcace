namespace Kedge.Domain

open System.Collections.Generic

/// What `kedge check` reports about the networks of routes and ad-hoc rules.
[<AbstractClass; Sealed>]
type Networks private () =

    static let sets (networks: string list) =
        networks
        |> List.map (AddressSet.TryParse >> Result.defaultValue AddressSet.Empty)

    static let ofRule (list: CheckedList) index (demands: Decoded.Authorization option) =
        match demands with
        | None -> []
        | Some rule ->
            let denied = AddressSet.Union(sets rule.DeniedClientNetworks)

            let finding part message =
                list.Finding(
                    Severity.Warning,
                    "network-never-allowed",
                    index,
                    Field "authorization" :: part,
                    message,
                    []
                )

            [
                for i, (text, network) in List.indexed (List.zip rule.ClientNetworks (sets rule.ClientNetworks)) do
                    if network.Except(denied).IsEmpty then
                        finding
                            [ Field "client_networks"; Step.Index i ]
                            $"denied_client_networks covers all of {text}, so nobody from there is admitted"

                if rule.ClientNetworks.IsEmpty && AddressSet.All.Except(denied).IsEmpty then
                    finding [ Field "denied_client_networks" ] "it covers all addresses, so nobody is admitted"
            ]

    static let ofProtocol (configuration: Configuration) (semantics: RouteSemantics<'route, 'request>) =
        [
            let routes = semantics.Routes configuration.Director
            let list = CheckedList.Routes(configuration, semantics.Protocol)

            for index in 0 .. routes.Length - 1 do
                yield! ofRule list index (semantics.Outcome routes[index]).Demands

            let list = CheckedList.AdhocRules(configuration, semantics.Protocol)

            for index, rule in Seq.indexed configuration.Director.AdhocRules[semantics.Protocol] do
                yield! ofRule list index rule.Authorization
        ]

    /// `network-never-allowed`: a network from which nobody is admitted, because it is denied as well.
    static member Findings(configuration: Configuration) : IReadOnlyList<Finding> =
        [|
            yield! ofProtocol configuration RouteSemantics.http
            yield! ofProtocol configuration RouteSemantics.grpc
        |]
