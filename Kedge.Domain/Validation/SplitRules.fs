namespace Kedge.Domain

open System
open Kedge.Domain.Decoded

/// Validation of `backends`, `split_by` and `on_unavailable`. See docs/configuration.md.
[<RequireQualifiedAccess>]
module internal SplitRules =

    let private key (checks: Checks) path (protocol: Protocol) (key: SplitKey) =
        let token (field: string) (name: string) =
            let rule = $"must be a {field} name: letters, digits and `-`, `_`, `.`"
            checks.Require(Field field :: path, rule, name, HttpToken.isToken (name.AsSpan()))

        match key with
        | SplitKey.Cookie name ->
            token "cookie" name
            key
        | SplitKey.Header name ->
            token "header" name
            SplitKey.Header(name.ToLowerInvariant())
        | SplitKey.Query name ->
            if protocol.IsGrpc then
                checks.Malformed(Field "query" :: path, "must be another key: a gRPC call has no query", name)
            elif name = "" then
                checks.Malformed(Field "query" :: path, "must be the name of a query parameter", name)

            key
        | SplitKey.ClientAddress
        | SplitKey.TokenSubject
        | SplitKey.ClientSan -> key

    let private backend (checks: Checks) path (backend: WeightedBackend) : SplitBackend =
        if backend.Name = "" then
            checks.Report(path, Missing "name")
        else
            checks.Require(Field "name" :: path, NameRule.backend, backend.Name, NameRule.isBackend backend.Name)

        let weight = Option.defaultValue 1u backend.Weight
        checks.InRange(Field "weight" :: path, NumberRange.weight, weight)

        { Name = backend.Name; Weight = weight }

    /// The action of a route with `backends`; none when the list is empty.
    let validate (checks: Checks) path protocol (backends: WeightedBackend list) splitBy onUnavailable =
        let list = Field "backends" :: path

        if backends.IsEmpty then
            let omitted field isGiven =
                if isGiven then
                    checks.Report(
                        Field field :: path,
                        Malformed("must be omitted: the route has no backends to choose from", field)
                    )

            omitted "split_by" (Option.isSome splitBy)
            omitted "on_unavailable" (onUnavailable <> OnUnavailable.Fail)
            None
        else
            let valid =
                backends
                |> List.mapi (fun i entry -> backend checks (Step.Index i :: list) entry)

            checks.Unique(list, "name", backends |> Seq.map _.Name)

            if backends.Length > Split.MostBackends then
                checks.Report(list, OutOfRange($"at most {Split.MostBackends} backends", string backends.Length))

            if valid |> List.forall (fun backend -> backend.Weight = 0u) then
                checks.Report(list, Malformed("must have a weight that is not 0", "the sum of the weights is 0"))

            Some(
                Splits
                    {
                        Backends = valid
                        Key = splitBy |> Option.map (key checks (Field "split_by" :: path) protocol)
                        OnUnavailable = onUnavailable
                    }
            )
