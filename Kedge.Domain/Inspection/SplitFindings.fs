namespace Kedge.Domain

open System.Collections.Generic

/// What `kedge check` reports about routes with several backends.
[<AbstractClass; Sealed>]
type SplitFindings private () =

    static let ofRoutes (configuration: Configuration) (protocol: Protocol) =
        let list = CheckedList.Routes(configuration, protocol)

        [
            for info in list.Infos do
                match info.Mirrors with
                | Null -> ()
                | NonNull mirrors ->
                    for i, target in Array.indexed mirrors do
                        let mirror = target.Choice.Mirror

                        if mirror.Percent = 0 then
                            list.Finding(
                                Severity.Info,
                                "weight-zero",
                                info.Index,
                                [ Field "mirror"; Step.Index i; Field "percent" ],
                                $"{mirror.Backend} gets no copy of a request of this route",
                                []
                            )

                match info.Action with
                | Splits split ->
                    for i, backend in List.indexed split.Backends do
                        if backend.Weight = 0u then
                            list.Finding(
                                Severity.Info,
                                "weight-zero",
                                info.Index,
                                [ Field "backends"; Step.Index i; Field "weight" ],
                                $"{backend.Name} gets no request of this route",
                                []
                            )
                | _ -> ()
        ]

    /// `weight-zero` for a backend or mirror that gets no request of a route which names it.
    static member Findings(configuration: Configuration) : IReadOnlyList<Finding> =
        [|
            for protocol in Protocol.All do
                yield! ofRoutes configuration protocol
        |]
