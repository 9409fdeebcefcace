namespace Kedge.Domain

/// The rate limits of a route in reports.
[<RequireQualifiedAccess>]
module internal LimitText =

    /// The value of a part of a key, as far as the request shows it; None when the request does not have the part.
    let private value (route: string) (request: Request) (part: KeyPart) : string option =
        match part with
        | KeyPart.Route -> Some route
        | KeyPart.Host -> if request.Host = "" then None else Some request.Host
        | KeyPart.Header name ->
            let headers =
                match request with
                | Http request -> request.Headers
                | Grpc call -> call.Metadata

            headers
            |> List.tryFind (fun (header, _) -> header.ToLowerInvariant() = name)
            |> Option.map snd
        | KeyPart.ClientAddress _
        | KeyPart.ClientSan
        | KeyPart.TokenSubject
        | KeyPart.Issuer -> Some "(the caller's)"

    let private key (limit: RateLimit) (route: string) (request: Request) : string =
        let values = limit.Key |> List.map (fun part -> part, value route request part)

        match values |> List.tryFind (fun (_, value) -> value.IsNone) with
        | _ when values.IsEmpty -> "one bucket for all requests"
        | Some(missing, _) when limit.OnMissingKey = Decoded.OnMissingKey.Skip ->
            $"does not hold: the request has no {missing.Text}"
        | Some(missing, _) -> $"the bucket of all requests without {missing.Text}"
        | None ->
            values
            |> List.map (fun (part, value) -> part.Text + "=" + Option.defaultValue "" value)
            |> String.concat ", "

    /// A line for each limit, in the order in which kedge checks them, with the key of the request. `route` is the
    /// route as keys identify it.
    let lines (limits: RouteLimits) (route: string) (request: Request) : string list =
        [
            for limit in limits.Limits do
                let order = if limit.IsAfterToken then "; asked after the token" else ""

                $"rate limit: {limit.Text}: {key limit route request}{order}"
        ]

    /// The limits as differences show them: `, limited by per_client (10 per 1s, burst 10)`.
    let changed (limits: RouteLimits) : string =
        if limits.IsNone then
            ", without rate limits"
        else
            let limits = limits.Limits |> List.map _.Text |> String.concat ", "
            $", limited by {limits}"

    let direction (before: RateLimit list) (after: RateLimit list) : string =
        match (LimitChange.ofLimits before after).Text with
        | "" -> ""
        | word -> $": {word}"

    /// An entry of `rate_limits` as differences show it.
    let entry (limit: RateLimit) : string =
        let key =
            if limit.Key.IsEmpty then
                ""
            else
                $", for each {limit.KeyText}"

        $"{limit.Name}: {limit.RateText}{key}"
