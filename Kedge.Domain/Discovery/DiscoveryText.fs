namespace Kedge.Domain.Discovery

open System.Text
open Kedge.Domain

/// What `kedge discover` prints.
[<RequireQualifiedAccess>]
module DiscoveryText =

    /// The generated `director.json`.
    let director (generated: Generated) : string =
        Encode.director
            {
                HttpRoutes = generated.Entries.HttpRoutes
                GrpcRoutes = generated.Entries.GrpcRoutes
                AdhocRules = PerProtocol.Both []
                RateLimits = []
                RateLimitHeaders = false
                TokenIssuers = []
            }

    /// The generated `backendpool.json`.
    let backendPool (generated: Generated) : string =
        Encode.backendPool
            {
                TlsServerConfigs = []
                Backends = generated.Entries.Backends
            }

    /// One line for each conflict, quarantined service, ignored port and overridden backend.
    let reports (generated: Generated) : string list =
        [
            for conflict in generated.Conflicts do
                "conflict: " + conflict.Describe()

            for quarantined in generated.Quarantined do
                "quarantined: " + quarantined.Describe()

            for ignored in generated.IgnoredPorts do
                "ignored: " + ignored.Describe()

            for overridden in generated.OverriddenBackends do
                "overridden: " + overridden.Describe()
        ]

    /// Both files, each under a line with its name, and then the reports as comments.
    let render (generated: Generated) : string =
        let text = StringBuilder()

        text
            .Append("// director.json\n")
            .Append(director generated)
            .Append("\n// backendpool.json\n")
            .Append(backendPool generated)
            .Append('\n')
        |> ignore

        for report in reports generated do
            text.Append("// ").Append(report).Append('\n') |> ignore

        text.ToString()
