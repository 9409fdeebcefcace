namespace Kedge.Domain

open System
open System.Collections.Generic
open System.Net

/// What the server's flags require of every caller. Without requirements everyone who can connect is allowed. See
/// docs/authorization.md.
[<Sealed>]
type ServerDemands private (token: bool, requiredPerm: string, anyPerms: string array) =

    static member None = ServerDemands(false, "", [||])

    /// A valid token, whatever its permissions: the static bearer token.
    static member Token = ServerDemands(true, "", [||])

    /// A valid OIDC token with `requiredPerm`, unless that is empty, and with one of `anyPerms`, unless there are none.
    static member Permissions(requiredPerm: string, anyPerms: IEnumerable<string>) =
        ServerDemands(true, requiredPerm, Seq.toArray anyPerms)

    /// Whether a valid token is required.
    member _.NeedsToken = token
    member _.RequiredPerm = requiredPerm
    member internal _.AnyPerms = anyPerms

/// Which tokens a rule accepts, apart from their permissions.
type internal TokenDemands =
    {
        /// The names of their issuers; empty = the issuer that the flags set up.
        Issuers: string array
        /// The definitions of these issuers.
        Definitions: TokenIssuer array
        /// Claims, each with its accepted values: the token must have one of them.
        Claims: struct (string * string array) array
    }

    static member val None =
        {
            Issuers = [||]
            Definitions = [||]
            Claims = [||]
        }

    static member Of(rule: Decoded.Authorization, issuers: TokenIssuer list) : TokenDemands =
        if rule.TokenIssuers.IsEmpty && rule.Claims.IsEmpty then
            TokenDemands.None
        else
            {
                Issuers = List.toArray rule.TokenIssuers
                Definitions = List.toArray issuers
                Claims =
                    [|
                        for KeyValue(claim, values) in rule.Claims -> struct (claim, List.toArray values)
                    |]
            }

    /// Whether these demands require a token.
    member demands.NeedToken = demands.Issuers.Length + demands.Claims.Length > 0

    /// Whether tokens of this issuer are accepted.
    member demands.Accept(issuer: string) =
        if demands.Issuers.Length = 0 then
            issuer = TokenIssuer.DefaultName
        else
            demands.Issuers.AsSpan().Contains issuer

/// What a route or ad-hoc rule requires beyond the server's flags, ready to use.
[<Sealed>]
type RouteDemands
    private
    (
        anonymous: bool,
        anyPerms: string array,
        allPerms: string array,
        sans: SanMatcher array,
        networks: AddressSet | null,
        isBoundToNetworks: bool,
        tokens: TokenDemands
    ) =

    // Validation has parsed the texts.
    static let addresses (networks: string list) =
        networks
        |> Seq.map (AddressSet.TryParse >> Result.defaultValue AddressSet.Empty)
        |> AddressSet.Union

    /// Nothing beyond the server's requirements.
    static member val None = RouteDemands(false, [||], [||], [||], null, false, TokenDemands.None)

    /// The addresses that a rule admits, without the denied ones; null = all, because the rule does not restrict them.
    static member NetworksOf(rule: Decoded.Authorization) : AddressSet | null =
        match rule.ClientNetworks, rule.DeniedClientNetworks with
        | [], [] -> null
        | [], denied -> AddressSet.All.Except(addresses denied)
        | allowed, denied -> (addresses allowed).Except(addresses denied)

    /// `issuers` are the issuers that the rule names.
    static member Of(authorization: Decoded.Authorization option, issuers: TokenIssuer list) : RouteDemands =
        match authorization with
        | None -> RouteDemands.None
        | Some rule ->
            let sans = rule.ClientCertSans |> List.map SanMatcher.Parse |> List.toArray
            let anyPerms = List.toArray rule.AnyPerms
            let allPerms = List.toArray rule.AllPerms
            // Validation rejects `anonymous` along with a requirement. Should both get here, the requirement counts.
            let networks = RouteDemands.NetworksOf rule
            let tokens = TokenDemands.Of(rule, issuers)

            let anonymous =
                rule.Anonymous
                && anyPerms.Length + allPerms.Length + sans.Length = 0
                && isNull networks
                && not tokens.NeedToken

            RouteDemands(anonymous, anyPerms, allPerms, sans, networks, not rule.ClientNetworks.IsEmpty, tokens)

    /// The same for a rule that names no issuers.
    static member Of(authorization: Decoded.Authorization option) : RouteDemands = RouteDemands.Of(authorization, [])

    /// The requirements in a few words, for reports and pages.
    static member Describe(authorization: Decoded.Authorization option) : string =
        match authorization with
        | None -> "as the server's flags require"
        | Some authorization when authorization.Anonymous -> "open to everyone"
        | Some authorization ->
            [
                if not authorization.TokenIssuers.IsEmpty then
                    "a token of " + String.concat " or " authorization.TokenIssuers

                if not authorization.AnyPerms.IsEmpty then
                    "any permission of " + String.concat ", " authorization.AnyPerms

                if not authorization.AllPerms.IsEmpty then
                    "all permissions of " + String.concat ", " authorization.AllPerms

                for KeyValue(claim, values) in authorization.Claims do
                    $"the claim {claim} is " + String.concat " or " values

                if not authorization.ClientCertSans.IsEmpty then
                    "a client certificate for " + String.concat ", " authorization.ClientCertSans

                if not authorization.ClientNetworks.IsEmpty then
                    "an address in " + String.concat ", " authorization.ClientNetworks

                if not authorization.DeniedClientNetworks.IsEmpty then
                    "no address in " + String.concat ", " authorization.DeniedClientNetworks
            ]
            |> function
                | [] -> "as the server's flags require"
                | requirements -> String.concat "; " requirements

    /// Open to everyone, whatever the flags require.
    member _.Anonymous = anonymous
    member internal _.AnyPerms = anyPerms
    member internal _.AllPerms = allPerms
    member internal _.Sans = sans
    /// The addresses that callers may have; null = any.
    member internal _.Networks = networks

    /// The same demands, but for callers with any address.
    member internal _.Anywhere =
        RouteDemands(anonymous, anyPerms, allPerms, sans, null, false, tokens)

    /// Which tokens it accepts.
    member internal _.Tokens = tokens

    /// The names of the issuers whose tokens it accepts, in the order of the rule; empty = the one that the flags set
    /// up.
    member _.Issuers: ReadOnlySpan<string> = ReadOnlySpan tokens.Issuers

    /// Whether it names the issuers whose tokens it accepts.
    member _.NamesIssuers = tokens.Issuers.Length > 0

    /// The claims that it requires.
    member _.Claims: string seq =
        tokens.Claims |> Seq.map (fun (struct (claim, _)) -> claim)

    /// Whether callers must come from certain networks. Denied networks alone do not count, since they leave nearly all
    /// addresses.
    member _.IsBoundToNetworks = isBoundToNetworks

/// What is known about the caller's token.
type TokenState =
    /// The caller sent none.
    | NoToken
    /// The reason is for the caller.
    | BadToken of reason: string
    /// It cannot be verified now, because the provider's keys are not available. The reason is for the caller.
    | UnverifiableToken of reason: string
    /// The server's static token. It has no permissions.
    | StaticToken
    /// A valid token.
    | ValidToken of token: VerifiedToken

/// Who sends the request.
[<Struct>]
type Caller(token: TokenState, certificate: (SubjectAltName array) | null, address: IPAddress | null) =

    /// A caller whose address does not matter.
    new(token: TokenState, certificate: (SubjectAltName array) | null) = Caller(token, certificate, null)

    /// A caller without a client certificate, whose address does not matter.
    new(token: TokenState) = Caller(token, null, null)

    member _.Token =
        match box token with
        | null -> NoToken
        | _ -> token

    /// The names in the client certificate, whose chain and purpose the handshake has verified. Null without a
    /// certificate.
    member _.Certificate = certificate

    /// The caller's address. Null when it is not known, which meets no demand.
    member _.Address = address

/// Whether a caller may use a route. Reasons are for the caller: they contain no part of a token or certificate, and
/// reveal nothing that the caller does not know, except the names of missing permissions.
type AccessDecision =
    | Allowed
    /// No token, or a bad one: 401, UNAUTHENTICATED.
    | Unauthenticated of reason: string
    /// A known caller who is not allowed: 403, PERMISSION_DENIED.
    | Forbidden of reason: string
    /// The token cannot be verified now: 503, UNAVAILABLE.
    | Undecidable of reason: string

/// Decides whether a caller may use a route: a pure function of the caller and the requirements. Deny by default:
/// whatever is missing, unreadable or unknown meets no requirement, and adding a requirement never lets more callers
/// in.
[<AbstractClass; Sealed>]
type Access private () =

    static let hasAny (permissions: Permissions) (wanted: string array) =
        let mutable i = 0

        while i < wanted.Length && not (permissions.Has wanted[i]) do
            i <- i + 1

        wanted.Length = 0 || i < wanted.Length

    /// The index of the first permission that is not granted, or -1.
    static let firstMissing (permissions: Permissions) (wanted: string array) =
        let mutable i = 0

        while i < wanted.Length && permissions.Has wanted[i] do
            i <- i + 1

        if i < wanted.Length then i else -1

    static let namesHold (matchers: SanMatcher array) (sans: SubjectAltName array) =
        let mutable found = false

        for matcher in matchers do
            for san in sans do
                found <- found || matcher.Holds san

        found

    static let oneOf (wanted: string array) =
        if wanted.Length = 1 then
            $"the permission {wanted[0]} is missing"
        else
            let names = String.Join(", ", wanted)
            $"one of the permissions {names} is needed"

    static let decidePermissions (server: ServerDemands) (route: RouteDemands) permissions =
        let missing = firstMissing permissions route.AllPerms

        if server.RequiredPerm <> "" && not (permissions.Has server.RequiredPerm) then
            Forbidden $"the permission {server.RequiredPerm} is missing"
        elif not (hasAny permissions server.AnyPerms) then
            Forbidden(oneOf server.AnyPerms)
        elif missing >= 0 then
            Forbidden $"the permission {route.AllPerms[missing]} is missing"
        elif not (hasAny permissions route.AnyPerms) then
            Forbidden(oneOf route.AnyPerms)
        else
            Allowed

    /// The index of the first claim for which the token has none of the accepted values, or -1.
    static let firstOtherClaim (wanted: struct (string * string array) array) (token: VerifiedToken) =
        let mutable i = 0
        let mutable found = true

        while found && i < wanted.Length do
            let struct (claim, values) = wanted[i]
            found <- false

            for value in token.Claim claim do
                found <- found || values.AsSpan().Contains value

            if found then
                i <- i + 1

        if found then -1 else i

    static let decideClaims (route: RouteDemands) (token: VerifiedToken) =
        match firstOtherClaim route.Tokens.Claims token with
        | -1 -> Allowed
        | i ->
            let struct (claim, _) = route.Tokens.Claims[i]
            Forbidden $"the token's claim {claim} has no value that may use this"

    static let otherIssuer = Unauthenticated "the token is of another issuer"

    static let decideToken (server: ServerDemands) (route: RouteDemands) token =
        match token with
        | NoToken -> Unauthenticated "a token is needed: Proxy-Authorization: Bearer"
        | BadToken reason -> Unauthenticated reason
        | UnverifiableToken reason -> Undecidable reason
        | StaticToken when route.Tokens.Accept TokenIssuer.DefaultName ->
            match decidePermissions server route Permissions.None with
            | Allowed when route.Tokens.Claims.Length > 0 -> Forbidden "the static token has no claims"
            | decision -> decision
        | ValidToken token when route.Tokens.Accept token.Issuer ->
            match decidePermissions server route token.Permissions with
            | Allowed -> decideClaims route token
            | decision -> decision
        | StaticToken
        | ValidToken _ -> otherIssuer

    /// Whether the decision depends on the caller's token. If not, the token need not be read.
    static member TokenMatters(server: ServerDemands, route: RouteDemands) : bool =
        not route.Anonymous
        && (server.NeedsToken
            || route.AnyPerms.Length + route.AllPerms.Length > 0
            || route.Tokens.NeedToken)

    /// Whether the decision depends on the names in the caller's certificate. If not, they need not be read.
    static member CertificateMatters(route: RouteDemands) : bool = not route.Anonymous && route.Sans.Length > 0

    /// Whether the decision depends on the caller's address. If not, it need not be known.
    static member AddressMatters(route: RouteDemands) : bool = not (isNull route.Networks)

    /// Whether callers with this address may use the route, if they meet its other demands.
    static member AdmitsAddress(route: RouteDemands, address: IPAddress | null) : bool =
        match route.Networks with
        | null -> true
        | networks ->
            match address with
            | null -> false
            | address -> networks.Contains address

    /// The reason for a caller whose address the route does not admit. It does not reveal which addresses the route
    /// admits.
    static member WrongNetwork = Forbidden "not from this network"

    /// Checks the address first, then the token, then the certificate. A certificate that is missing or has another
    /// name is forbidden: a 401 would ask for a token, which could not help. Allocates nothing for a caller who is
    /// allowed.
    static member Decide(server: ServerDemands, route: RouteDemands, caller: Caller) : AccessDecision =
        if route.Anonymous then
            Allowed
        elif not (Access.AdmitsAddress(route, caller.Address)) then
            Access.WrongNetwork
        else
            let byToken =
                if Access.TokenMatters(server, route) then
                    decideToken server route caller.Token
                else
                    Allowed

            match byToken with
            | Allowed when route.Sans.Length > 0 ->
                match caller.Certificate with
                | null -> Forbidden "a client certificate is needed"
                | names when namesHold route.Sans names -> Allowed
                | _ -> Forbidden "the client certificate has none of the names that may use this"
            | decision -> decision

    /// Whether anyone is allowed, without a token or certificate (except a certificate that the listener requires).
    /// With `networksSuffice`, a route that admits only certain networks does not count as open.
    static member IsOpen(server: ServerDemands, route: RouteDemands, networksSuffice: bool) : bool =
        not (networksSuffice && route.IsBoundToNetworks)
        && Access.Decide(server, route.Anywhere, Caller NoToken).IsAllowed

    /// The same; networks do not suffice.
    static member IsOpen(server: ServerDemands, route: RouteDemands) : bool = Access.IsOpen(server, route, false)
