namespace Kedge.Domain

open System.Collections.Generic

/// Who gets in without showing anything: what `kedge check --require_authorization` adds.
[<AbstractClass; Sealed>]
type Exposure private () =

    static let findings
        (configuration: Configuration)
        (server: ServerDemands)
        (protocol: Protocol<'route, 'request>)
        (name: string)
        (render: 'request -> string)
        (routes: 'route array)
        (infos: IReadOnlyList<RouteInfo>)
        (adhocInfos: IReadOnlyList<RouteInfo>)
        =
        let isOpen (info: RouteInfo) = Access.IsOpen(server, info.Demands)

        let finding kind list (info: RouteInfo) message witnesses =
            let path = [ Field name; Field list; Step.Index info.Index ]
            Finding(Severity.Error, kind, configuration.DirectorSource.Locate path, message, witnesses)

        [
            if Seq.exists isOpen infos then
                let reach = Analysis.reach protocol routes

                for info in infos do
                    if isOpen info then
                        match reach[info.Index] with
                        | Reached witness
                        | OnlyAsterisk(witness, _, _) ->
                            finding "open-route" "routes" info "anyone may use it" [ render witness ]
                        // Nobody can use what no request gets to.
                        | ShadowedBy _
                        | CoveredBy _
                        | NeverHolds -> ()

            for info in adhocInfos do
                if isOpen info then
                    finding "open-adhoc-rule" "adhoc_rules" info "anyone may use it" []
        ]

    /// The routes, and ad-hoc rules, that anyone who can connect may use, each an error. `server` is what the flags demand
    /// of every caller. There are none when the listeners demand a client certificate (`certificateRequired`): then nobody
    /// connects without one.
    static member Check
        (configuration: Configuration, server: ServerDemands, certificateRequired: bool)
        : IReadOnlyList<Finding> =
        let director = configuration.Director

        if certificateRequired then
            [||]
        else
            [|
                yield!
                    findings
                        configuration
                        server
                        Protocol.http
                        "http"
                        (Http >> RequestText.render)
                        director.HttpRoutes
                        configuration.HttpRoutes
                        configuration.HttpAdhocRules

                yield!
                    findings
                        configuration
                        server
                        Protocol.grpc
                        "grpc"
                        (Grpc >> RequestText.render)
                        director.GrpcRoutes
                        configuration.GrpcRoutes
                        configuration.GrpcAdhocRules
            |]
