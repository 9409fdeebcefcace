namespace Kedge.Domain

open System

/// Validates rate limits, and the limits that a route names.
[<RequireQualifiedAccess>]
module internal RateLimitRules =

    /// Each limit briefly holds a lock.
    [<Literal>]
    let private MostOfRoute = 8

    let private minPeriod = TimeSpan.FromSeconds 1L
    let private maxPeriod = TimeSpan.FromHours 24

    // How long a burst may take to become available again: a longer time is a mistake, and would not fit the clock.
    let private maxRefill = TimeSpan.FromDays 365

    let private parts =
        [ "client_address"; "client_san"; "token_subject"; "issuer"; "route"; "host" ]

    let private keyPart (checks: Checks) path ipv6Prefix (text: string) : KeyPart =
        match text with
        | "client_address" -> KeyPart.ClientAddress ipv6Prefix
        | "client_san" -> KeyPart.ClientSan
        | "token_subject" -> KeyPart.TokenSubject
        | "issuer" -> KeyPart.Issuer
        | "route" -> KeyPart.Route
        | "host" -> KeyPart.Host
        | _ when text.StartsWith("header:", StringComparison.Ordinal) ->
            let name = text.Substring "header:".Length
            let rule = "must be header: and a header name, such as header:x-user"
            checks.Require(path, rule, text, HttpToken.isToken (name.AsSpan()))
            KeyPart.Header(name.ToLowerInvariant())
        | _ ->
            let suggestion = Suggestion.closest parts text
            checks.Report(path, UnknownValue(parts @ [ "header:NAME" ], Excerpt.quote text, suggestion))
            KeyPart.Route

    /// As many as one second allows, but at least 1.
    let private defaultBurst (limit: uint32) (period: TimeSpan) : uint32 =
        max 1u (uint32 (int64 limit * TimeSpan.TicksPerSecond / period.Ticks))

    let private key (checks: Checks) path (limit: Decoded.RateLimit) : KeyPart list =
        checks.InRange(Field "ipv6_prefix" :: path, NumberRange.ipv6Prefix, limit.Ipv6Prefix)

        if limit.Ipv6Prefix <> 0u && not (List.contains "client_address" limit.Key) then
            let rule = "must be omitted: the key has no client_address"
            checks.Malformed(Field "ipv6_prefix" :: path, rule, string limit.Ipv6Prefix)

        let prefix =
            if limit.Ipv6Prefix = 0u then
                64
            else
                int (min 128u limit.Ipv6Prefix)

        let parts =
            limit.Key
            |> List.mapi (fun i text -> keyPart checks (Step.Index i :: Field "key" :: path) prefix text)

        parts
        |> List.iteri (fun i part ->
            if List.contains part (List.truncate i parts) then
                let rule = "must be given once"
                checks.Malformed(Step.Index i :: Field "key" :: path, rule, limit.Key[i]))

        parts

    let private rateLimit (checks: Checks) path (limit: Decoded.RateLimit) : RateLimit =
        if limit.Name = "" then
            checks.Report(path, Missing "name")
        else
            checks.Require(Field "name" :: path, NameRule.rateLimit, limit.Name, NameRule.isRateLimit limit.Name)

        let orDefault value fallback = if value = 0u then fallback else value

        if limit.Limit = 0u then
            checks.Report(path, Missing "limit")
        else
            checks.InRange(Field "limit" :: path, NumberRange.rateLimit, limit.Limit)

        for field, value in [ "burst", limit.Burst; "max_keys", limit.MaxKeys ] do
            if value <> 0u then
                checks.InRange(Field field :: path, NumberRange.rateLimit, value)

        checks.DurationInRange(Field "period" :: path, minPeriod, maxPeriod, limit.Period)

        let period =
            if limit.Period = TimeSpan.Zero then
                minPeriod
            else
                limit.Period

        let burst = orDefault limit.Burst (defaultBurst limit.Limit period)

        if
            limit.Limit > 0u
            && float burst * period.TotalSeconds / float limit.Limit > maxRefill.TotalSeconds
        then
            let rule =
                "must be smaller: at this rate it would take more than a year to be available again"

            checks.Malformed(Field "burst" :: path, rule, string burst)

        {
            Name = limit.Name
            Limit = limit.Limit
            Period = period
            Burst = burst
            Key = key checks path limit
            OnMissingKey = limit.OnMissingKey
            MaxKeys = int (min NumberRange.rateLimit.Max (orDefault limit.MaxKeys 100_000u))
            Scale = limit.Scale
            Shadow = limit.Shadow
        }

    /// The rate limits of a file.
    let rateLimits (checks: Checks) (limits: Decoded.RateLimit list) : RateLimit list =
        let list = [ Field "rate_limits" ]
        checks.Unique(list, "name", limits |> Seq.map _.Name)

        limits
        |> List.mapi (fun i limit -> rateLimit checks (Step.Index i :: list) limit)

    /// The rate limits that a route names, out of `all`. The file's `headers` applies to all routes that have a limit.
    let ofRoute (checks: Checks) path (all: RateLimit list) (headers: bool) (names: string list) (own: bool) =
        let list = Field "rate_limits" :: path

        if names.IsEmpty && own then
            checks.Malformed(
                Field "rate_limit_headers" :: path,
                "must be omitted: the route has no rate_limits",
                "true"
            )

        if names.Length > MostOfRoute then
            checks.Report(list, OutOfRange($"at most {MostOfRoute} rate limits", string names.Length))

        let limits =
            names
            |> List.mapi (fun i name ->
                let path = Step.Index i :: list

                if List.contains name (List.truncate i names) then
                    checks.Malformed(path, "must be given once", name)

                match all |> List.tryFind (fun limit -> limit.Name = name) with
                | Some limit -> Some limit
                | None ->
                    let suggestion = Suggestion.closest (all |> Seq.map _.Name) name
                    checks.Report(path, UnknownReference(Problem.RateLimit, name, suggestion))
                    None)
            |> List.choose id

        {
            Limits = limits |> List.sortBy _.IsAfterToken
            Headers = not limits.IsEmpty && (headers || own)
        }
