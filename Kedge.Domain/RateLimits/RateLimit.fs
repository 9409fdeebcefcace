namespace Kedge.Domain

open System

/// A part of the key that distinguishes callers.
[<RequireQualifiedAccess>]
type KeyPart =
    /// For IPv6, only the first bits of the address.
    | ClientAddress of ipv6Prefix: int
    /// The first name in the client's certificate.
    | ClientSan
    /// The subject of the caller's token.
    | TokenSubject
    /// The issuer of the caller's token.
    | Issuer
    /// The first value of a header; the name is in lower case.
    | Header of name: string
    /// The route that matches the request.
    | Route
    /// The host that the request is for.
    | Host

    /// As written in the configuration.
    member part.Text: string =
        match part with
        | ClientAddress _ -> "client_address"
        | ClientSan -> "client_san"
        | TokenSubject -> "token_subject"
        | Issuer -> "issuer"
        | Header name -> "header:" + name
        | Route -> "route"
        | Host -> "host"

    /// Whether kedge knows it only after it verifies the caller's token.
    member part.IsOfToken: bool =
        match part with
        | TokenSubject
        | Issuer -> true
        | _ -> false

    /// Whether it identifies the caller: kedge checks a limit with such a part after the token.
    member part.IsOfIdentity: bool = part.IsClientSan || part.IsOfToken

/// A validated rate limit.
type RateLimit =
    {
        Name: string
        Limit: uint32
        Period: TimeSpan
        Burst: uint32
        /// Empty = one bucket for all requests.
        Key: KeyPart list
        OnMissingKey: Decoded.OnMissingKey
        MaxKeys: int
        Scale: Decoded.LimitScale
        Shadow: bool
    }

    /// What each replica allows when there are this many.
    member limit.Share(replicas: int) : Gcra =
        let replicas =
            if limit.Scale = Decoded.LimitScale.AllReplicas then
                replicas
            else
                1

        Gcra.Of(limit.Limit, limit.Period, limit.Burst, replicas)

    /// Whether kedge checks this limit after it verifies the caller's token. It checks all others before, so that a
    /// flood of requests cannot trigger verifications.
    member limit.IsAfterToken: bool = limit.Key |> List.exists _.IsOfIdentity

    /// Whether its key contains a part of the token.
    member limit.NeedsToken: bool = limit.Key |> List.exists _.IsOfToken

    /// The key as written in the configuration: `client_address, route`.
    member limit.KeyText: string = limit.Key |> List.map _.Text |> String.concat ", "

    /// What it allows: `100 per 1s, burst 50`.
    member limit.RateText: string =
        let scale =
            if limit.Scale = Decoded.LimitScale.AllReplicas then
                " over all replicas"
            else
                ""

        let shadow = if limit.Shadow then ", shadow" else ""
        $"{limit.Limit} per {Duration.Format limit.Period}, burst {limit.Burst}{scale}{shadow}"

    /// Its name, and what it allows: `per_client (100 per 1s, burst 50)`.
    member limit.Text: string = $"{limit.Name} ({limit.RateText})"

/// The rate limits of a route.
type RouteLimits =
    {
        /// In the order in which kedge checks them: limits checked before the token come first.
        Limits: RateLimit list
        /// Whether responses say what the limits still allow.
        Headers: bool
    }

    static member None: RouteLimits = { Limits = []; Headers = false }

    member limits.IsNone: bool = limits.Limits.IsEmpty
