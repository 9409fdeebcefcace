namespace Kedge.Domain

open System

/// Validation of what routes change: `rewrite`, `request_headers` and `response_headers`. See docs/configuration.md.
[<RequireQualifiedAccess>]
module internal FilterRules =

    let private pathChange (checks: Checks) path (rules: PathRule array) (change: Decoded.PathChange) =
        let field, text =
            match change with
            | Decoded.ReplaceFull text -> "replace_full", text
            | Decoded.ReplacePrefix text -> "replace_prefix", text

        if text.Contains '*' then
            checks.Malformed(Field field :: path, "must be a path without a `*`, which would be kept as it is", text)
            None
        else
            Some(PathReplacement.validate checks path rules change)

    let private host (checks: Checks) path (text: string) : string =
        let mutable authority = Unchecked.defaultof<Authority>

        if text = "" then
            ""
        elif text.Contains "://" then
            checks.Malformed(path, "must be a host without a scheme", text)
            ""
        elif not (Authority.TryParse(text.AsSpan(), &authority)) then
            checks.Malformed(path, "must be a host name or IP address, perhaps with a port from 1 to 65535", text)
            ""
        else
            text.ToLowerInvariant()

    /// `rules` are the path rules of the route.
    let rewrite (checks: Checks) path (rules: PathRule array) (rewrite: Decoded.Rewrite option) (filters: Filters) =
        match rewrite with
        | None -> filters
        | Some rewrite ->
            let path = Field "rewrite" :: path

            let pathRewrite =
                match rewrite.ReplacePrefix, rewrite.ReplaceFull with
                | None, None -> None
                | Some replacement, None -> pathChange checks path rules (Decoded.ReplacePrefix replacement)
                | None, Some full -> pathChange checks path rules (Decoded.ReplaceFull full)
                | Some _, Some full ->
                    checks.Malformed(Field "replace_full" :: path, "excludes replace_prefix: keep one of them", full)
                    None

            let host = host checks (Field "host" :: path) rewrite.Host

            if rewrite.ReverseLocation && rewrite.Host = "" && rewrite.ReplacePrefix.IsNone then
                let rule = "needs a replace_prefix or a host to change back"
                checks.Report(Field "reverse_location" :: path, Malformed(rule, "true"))

            { filters with
                Path = pathRewrite
                Host = host
                ReverseLocation = rewrite.ReverseLocation
            }

    let grpcRewrite (checks: Checks) path (rewrite: Decoded.GrpcRewrite option) (filters: Filters) =
        match rewrite with
        | None -> filters
        | Some rewrite ->
            { filters with
                Host = host checks (Field "host" :: Field "rewrite" :: path) rewrite.Host
            }

    /// Removals come first, then replacements, then additions; the last two in the order of names.
    let private changes (checks: Checks) path (changes: Decoded.HeaderChanges option) : HeaderChange list =
        match changes with
        | None -> []
        | Some changes ->
            let seen = Collections.Generic.HashSet<string>(StringComparer.OrdinalIgnoreCase)

            let name path (text: string) =
                let name = checks.Parsed(path, text, text, HeaderChange.tryParseName text)

                if not (seen.Add text) then
                    checks.Malformed(path, "must not be in two of remove, set and add, nor twice in one", text)

                name

            let valued kind (entries: Map<string, string>) (change: string * HeaderValue -> HeaderChange) =
                [
                    for KeyValue(key, text) in entries do
                        let path = Field key :: Field kind :: path
                        let name = name path key

                        let value =
                            checks.Parsed(path, text, { Parts = [] }, HeaderChange.tryParseValue text)

                        change (name, value)
                ]

            [
                for index, text in List.indexed changes.Remove do
                    RemoveHeader(name (Step.Index index :: Field "remove" :: path) text)

                yield! valued "set" changes.Set SetHeader
                yield! valued "add" changes.Add AddHeader
            ]

    /// A route without a backend has no request to change.
    let onlyForwarded (checks: Checks) path (backends: string list) (rewrite: bool, requestHeaders: bool) =
        let omitted field isGiven =
            if isGiven && backends.IsEmpty then
                checks.Report(Field field :: path, Malformed("must be omitted: the route forwards no request", field))

        omitted "rewrite" rewrite
        omitted "request_headers" requestHeaders

    let headers
        (checks: Checks)
        path
        (request: Decoded.HeaderChanges option)
        (response: Decoded.HeaderChanges option)
        (filters: Filters)
        : Filters =
        { filters with
            RequestHeaders = changes checks (Field "request_headers" :: path) request
            ResponseHeaders = changes checks (Field "response_headers" :: path) response
        }

    /// The header changes of single backends, by backend name.
    let backends (checks: Checks) path (backends: Decoded.WeightedBackend list) : Map<string, Filters> =
        backends
        |> List.indexed
        |> List.choose (fun (i, backend) ->
            let path = Step.Index i :: Field "backends" :: path

            let own =
                headers checks path backend.RequestHeaders backend.ResponseHeaders Filters.None

            if own.IsNone then None else Some(backend.Name, own))
        |> Map.ofList
