namespace Kedge.Domain

open System
open System.Net

/// Validates token issuers, and the issuers that a route names.
[<RequireQualifiedAccess>]
module internal IssuerRules =

    /// Each issuer keeps keys and caches tokens.
    [<Literal>]
    let private MostOfFile = 32

    [<Literal>]
    let private MostOfRoute = 16

    [<Literal>]
    let private MostClaims = 16

    let private maxClockSkew = TimeSpan.FromMinutes 10L

    let private isLoopback (host: string) =
        host = "localhost"
        || match IPAddress.TryParse(host.Trim('[', ']')) with
           | true, NonNull address -> IPAddress.IsLoopback address
           | _ -> false

    /// Whether kedge may fetch keys from the URL: in clear text, anyone on the path could replace them.
    let private isFetchable (url: string) =
        match Uri.TryCreate(url, UriKind.Absolute) with
        | true, NonNull uri ->
            (uri.Scheme = Uri.UriSchemeHttps
             || (uri.Scheme = Uri.UriSchemeHttp && isLoopback uri.Host))
            && uri.Fragment = ""
            && uri.UserInfo = ""
            && NameRule.isPlainText url
        | _ -> false

    let private urlRule =
        "must be an https URL; http is for loopback addresses only, because keys that are fetched in clear text can be forged"

    let private each (checks: Checks) path field (texts: string list) rule holds =
        texts
        |> List.iteri (fun i text ->
            let path = Step.Index i :: Field field :: path
            checks.Require(path, rule, text, holds text)

            if List.contains text (List.truncate i texts) then
                checks.Malformed(path, "must be given once", text))

    let private algorithms (checks: Checks) path (names: string list) : Set<string> =
        names
        |> List.iteri (fun i name ->
            let path = Step.Index i :: Field "algorithms" :: path

            if not (List.contains name TokenIssuer.SupportedAlgorithms) then
                let suggestion = Suggestion.closest TokenIssuer.SupportedAlgorithms name
                checks.Report(path, UnknownValue(TokenIssuer.SupportedAlgorithms, Excerpt.quote name, suggestion))
            elif List.contains name (List.truncate i names) then
                checks.Malformed(path, "must be given once", name))

        if names.IsEmpty then
            Set.ofList TokenIssuer.SupportedAlgorithms
        else
            Set.ofList names

    let private forwardClaims (checks: Checks) path (claims: Map<string, string>) : Map<string, string> =
        let path = Field "forward_claims" :: path

        if claims.Count > MostClaims then
            checks.Report(path, OutOfRange($"at most {MostClaims} headers", string claims.Count))

        claims
        |> Map.toList
        |> List.mapi (fun i (header, claim) ->
            let at = Field header :: path
            let parsed = HeaderChange.tryParseName header
            let name = checks.Parsed(at, header, header, parsed)

            // This header carries a credential, and a claim must not pass for one.
            checks.Require(at, "must be another header: it is for credentials", header, name <> "authorization")
            checks.Require(at, "must be the name of a claim", claim, NameRule.isPlainText claim)

            let isSame (other: string, _) = String.Equals(other, header, StringComparison.OrdinalIgnoreCase)

            if claims |> Map.toList |> List.truncate i |> List.exists isSame then
                checks.Malformed(at, "must be given once: case does not count in header names", header)

            name, claim)
        |> Map.ofList

    let private tokenIssuer (checks: Checks) path (issuer: Decoded.TokenIssuer) : TokenIssuer =
        if issuer.Name = "" then
            checks.Report(path, Missing "name")
        else
            let at = Field "name" :: path
            checks.Require(at, NameRule.rateLimit, issuer.Name, NameRule.isRateLimit issuer.Name)

            if issuer.Name = TokenIssuer.DefaultName then
                checks.Malformed(
                    at,
                    "must be another name: this one is for the provider that the flags set up",
                    issuer.Name
                )
            elif issuer.Name = TokenIssuer.UnknownName then
                checks.Malformed(
                    at,
                    "must be another name: metrics use this one for tokens of unknown issuers",
                    issuer.Name
                )

        if issuer.Issuer = "" then
            checks.Report(path, Missing "issuer")
        elif issuer.JwksUri = "" then
            let at = Field "issuer" :: path
            let withoutQuery = isFetchable issuer.Issuer && not (issuer.Issuer.Contains '?')
            checks.Require(at, urlRule, issuer.Issuer, withoutQuery)
        else
            // kedge fetches nothing from it, so any name will do.
            let rule = "must be a text without blanks"
            checks.Require(Field "issuer" :: path, rule, issuer.Issuer, NameRule.isPlainText issuer.Issuer)
            checks.Require(Field "jwks_uri" :: path, urlRule, issuer.JwksUri, isFetchable issuer.JwksUri)

        // Without an audience, a token that was issued for another service would be accepted.
        if issuer.Audiences.IsEmpty then
            checks.Report(path, Missing "audiences")

        let isNotEmpty (text: string) = text.Trim() <> ""
        each checks path "audiences" issuer.Audiences "must be an audience, not an empty text" isNotEmpty
        checks.DurationInRange(Field "clock_skew" :: path, TimeSpan.FromSeconds 1L, maxClockSkew, issuer.ClockSkew)

        if
            issuer.Forward = Decoded.TokenForwarding.Keep
            && issuer.Header = Decoded.TokenHeader.ProxyAuthorization
        then
            let rule =
                "must be REMOVE: Proxy-Authorization is for the proxy (RFC 9110, 11.7.2); KEEP is for header AUTHORIZATION"

            checks.Malformed(Field "forward" :: path, rule, "KEEP")

        {
            Name = issuer.Name
            Issuer = issuer.Issuer
            JwksUri = issuer.JwksUri
            Audiences = Set.ofList issuer.Audiences
            Header = issuer.Header
            PermsClaim = issuer.PermsClaim
            Algorithms = algorithms checks path issuer.Algorithms
            ClockSkew =
                if issuer.ClockSkew = TimeSpan.Zero then
                    TokenIssuer.DefaultClockSkew
                else
                    issuer.ClockSkew
            IsForwarded = (issuer.Forward = Decoded.TokenForwarding.Keep)
            ForwardClaims = forwardClaims checks path issuer.ForwardClaims
        }

    /// The issuers of a file.
    let tokenIssuers (checks: Checks) (issuers: Decoded.TokenIssuer list) : TokenIssuer list =
        let list = [ Field "token_issuers" ]

        if issuers.Length > MostOfFile then
            checks.Report(list, OutOfRange($"at most {MostOfFile} issuers", string issuers.Length))

        checks.Unique(list, "name", issuers |> Seq.map _.Name)
        // A token's `iss` selects one issuer.
        checks.Unique(list, "issuer", issuers |> Seq.map _.Issuer)

        issuers
        |> List.mapi (fun i issuer -> tokenIssuer checks (Step.Index i :: list) issuer)

    /// The issuer with this name, from the file or the flags.
    let find (all: TokenIssuer list) (name: string) : TokenIssuer option =
        TokenIssuer.Default :: all |> List.tryFind (fun issuer -> issuer.Name = name)

    /// The issuers that a rule names; unknown names are omitted.
    let named (all: TokenIssuer list) (rule: Decoded.Authorization option) : TokenIssuer list =
        match rule with
        | Some rule -> rule.TokenIssuers |> List.choose (find all)
        | None -> []

    /// Validates what a rule says about issuers and claims.
    let authorization (checks: Checks) path (all: TokenIssuer list) (rule: Decoded.Authorization option) =
        match rule with
        | None -> ()
        | Some rule ->
            let path = Field "authorization" :: path
            let list = Field "token_issuers" :: path

            if rule.TokenIssuers.Length > MostOfRoute then
                checks.Report(list, OutOfRange($"at most {MostOfRoute} issuers", string rule.TokenIssuers.Length))

            rule.TokenIssuers
            |> List.iteri (fun i name ->
                let at = Step.Index i :: list

                if List.contains name (List.truncate i rule.TokenIssuers) then
                    checks.Malformed(at, "must be given once", name)

                if (find all name).IsNone then
                    let suggestion = Suggestion.closest (all |> Seq.map _.Name) name
                    checks.Report(at, UnknownReference(Problem.TokenIssuer, name, suggestion)))

            let claims = Field "claims" :: path

            if rule.Claims.Count > MostClaims then
                checks.Report(claims, OutOfRange($"at most {MostClaims} claims", string rule.Claims.Count))

            for KeyValue(claim, values) in rule.Claims do
                checks.Require(Field claim :: claims, "must be the name of a claim", claim, NameRule.isPlainText claim)

                if values.IsEmpty then
                    checks.Malformed(Field claim :: claims, "must have a value: nobody could meet the demand", "[]")

                each checks claims claim values "must be a value, not an empty text" (fun text -> text.Trim() <> "")
