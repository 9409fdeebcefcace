namespace Kedge.Domain

open System.Collections.Generic

/// What anyone may use without showing a token or certificate: the findings that `kedge check --require_authorization`
/// adds.
[<AbstractClass; Sealed>]
type Exposure private () =

    static let message (info: RouteInfo) =
        if info.Demands.IsBoundToNetworks then
            "anyone in its networks may use it; --networks_suffice allows that"
        else
            "anyone may use it"

    static let openRoutes
        (configuration: Configuration)
        (server: ServerDemands)
        (networksSuffice: bool)
        (semantics: RouteSemantics<'route, 'request>)
        =
        let list = CheckedList.Routes(configuration, semantics.Protocol)
        let routes = semantics.Routes configuration.Director

        // Responses that kedge itself gives in clear text are for everyone.
        let isMeantToBe (info: RouteInfo) =
            (semantics.Backends routes[info.Index]).IsEmpty
            && semantics.Listener routes[info.Index] = Decoded.Listener.Plain

        let isOpen (info: RouteInfo) = not (isMeantToBe info) && Access.IsOpen(server, info.Demands, networksSuffice)

        [
            if Seq.exists isOpen list.Infos then
                let reach = Analysis.reach semantics routes

                for info in Seq.filter isOpen list.Infos do
                    match reach[info.Index] with
                    | Reached witness
                    | OnlyAsterisk(witness, _, _) ->
                        let witness = RequestText.render (semantics.Wrap witness)
                        list.Finding(Severity.Error, "open-route", info.Index, [], message info, [ witness ])
                    // Nobody can use a route that no request reaches.
                    | ShadowedBy _
                    | CoveredBy _
                    | NeverHolds -> ()
        ]

    static let openAdhocRules
        (configuration: Configuration)
        (server: ServerDemands)
        networksSuffice
        (protocol: Protocol)
        =
        let list = CheckedList.AdhocRules(configuration, protocol)

        [
            for info in list.Infos do
                if Access.IsOpen(server, info.Demands, networksSuffice) then
                    list.Finding(Severity.Error, "open-adhoc-rule", info.Index, [], message info, [])
        ]

    /// The routes and ad-hoc rules that anyone who can connect may use, each an error. `server` is what the flags
    /// require of every caller. There are none when the listeners require a client certificate (`certificateRequired`):
    /// then nobody can connect without one. With `networksSuffice`, routes for certain networks do not count as open.
    static member Findings
        (configuration: Configuration, server: ServerDemands, certificateRequired: bool, networksSuffice: bool)
        : IReadOnlyList<Finding> =
        if certificateRequired then
            [||]
        else
            [|
                yield! openRoutes configuration server networksSuffice RouteSemantics.http
                yield! openAdhocRules configuration server networksSuffice Protocol.Http
                yield! openRoutes configuration server networksSuffice RouteSemantics.grpc
                yield! openAdhocRules configuration server networksSuffice Protocol.Grpc
            |]
