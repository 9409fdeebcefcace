namespace Kedge.Domain

open System

/// A part of what distinguishes callers.
[<RequireQualifiedAccess>]
type KeyPart =
    /// Of an IPv6 address, the first bits.
    | ClientAddress of ipv6Prefix: int
    /// The first name in the client's certificate.
    | ClientSan
    /// Whom the token was issued to.
    | TokenSubject
    /// Who issued the token.
    | Issuer
    /// The first value of a header; the name is in lower case.
    | Header of name: string
    /// The route that takes the request.
    | Route
    /// The host that the request is for.
    | Host

    /// As the configuration has it.
    member part.Text: string =
        match part with
        | ClientAddress _ -> "client_address"
        | ClientSan -> "client_san"
        | TokenSubject -> "token_subject"
        | Issuer -> "issuer"
        | Header name -> "header:" + name
        | Route -> "route"
        | Host -> "host"

    /// Whether it is known only after the caller's token has been verified.
    member part.IsOfToken: bool =
        match part with
        | TokenSubject
        | Issuer -> true
        | _ -> false

    /// Whether it says who the caller is, which a limit asks about after the token.
    member part.IsOfIdentity: bool = part.IsClientSan || part.IsOfToken

/// A rate limit that is valid.
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

    /// What each replica allows, when there are so many.
    member limit.Share(replicas: int) : Gcra =
        let replicas =
            if limit.Scale = Decoded.LimitScale.AllReplicas then
                replicas
            else
                1

        Gcra.Of(limit.Limit, limit.Period, limit.Burst, replicas)

    /// Whether it is asked after the caller's token has been verified. All others are asked before, so that a flood of
    /// requests buys no verifications.
    member limit.IsAfterToken: bool = limit.Key |> List.exists _.IsOfIdentity

    /// Whether its key has a part of the token.
    member limit.NeedsToken: bool = limit.Key |> List.exists _.IsOfToken

    /// The key as the configuration has it: `client_address, route`.
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
        /// In the order in which they are asked: those that do not need the token first.
        Limits: RateLimit list
        /// Whether responses say what the limits still allow.
        Headers: bool
    }

    static member None: RouteLimits = { Limits = []; Headers = false }

    member limits.IsNone: bool = limits.Limits.IsEmpty
