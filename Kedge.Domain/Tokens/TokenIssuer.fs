namespace Kedge.Domain

open System

/// A validated token issuer.
type TokenIssuer =
    {
        Name: string
        /// The `iss` of its tokens. Empty for the issuer that the server's flags set up.
        Issuer: string
        /// Empty = the URI in its discovery document.
        JwksUri: string
        Audiences: Set<string>
        Header: Decoded.TokenHeader
        /// Empty = its tokens grant no permissions.
        PermsClaim: string
        Algorithms: Set<string>
        ClockSkew: TimeSpan
        /// Whether backends receive the token.
        IsForwarded: bool
        /// Headers that backends receive, in lower case, each with its claim.
        ForwardClaims: Map<string, string>
    }

    /// All algorithms that are supported: asymmetric ones only (RFC 7518, 3.1). With a symmetric one, anyone able to
    /// verify a token could issue one.
    static member SupportedAlgorithms: string list =
        [
            "RS256"
            "RS384"
            "RS512"
            "ES256"
            "ES384"
            "ES512"
            "PS256"
            "PS384"
            "PS512"
        ]

    /// The name of the issuer that the server's flags set up.
    static member DefaultName = "default"

    /// How metrics name an issuer that is not configured.
    static member UnknownName = "unknown"

    /// How much the clocks of issuer and server may differ, unless the issuer says otherwise.
    static member DefaultClockSkew = TimeSpan.FromSeconds 30L

    /// The issuer that the server's flags set up, as far as the core knows it.
    static member val Default =
        {
            Name = TokenIssuer.DefaultName
            Issuer = ""
            JwksUri = ""
            Audiences = Set.empty
            Header = Decoded.TokenHeader.ProxyAuthorization
            PermsClaim = ""
            Algorithms = Set.ofList TokenIssuer.SupportedAlgorithms
            ClockSkew = TokenIssuer.DefaultClockSkew
            IsForwarded = false
            ForwardClaims = Map.empty
        }

    /// The same issuer with the values from the flags.
    static member OfFlags(issuer: string, audience: string, permsClaim: string) : TokenIssuer =
        { TokenIssuer.Default with
            Issuer = issuer
            Audiences = Set.singleton audience
            PermsClaim = permsClaim
        }

    /// Whether the server's flags set it up.
    member issuer.IsDefault = issuer.Name = TokenIssuer.DefaultName

    /// What it accepts, for reports.
    member issuer.Text: string =
        let several (values: string seq) = String.Join(", ", values)

        [
            $"issuer {issuer.Issuer}"

            if issuer.JwksUri <> "" then
                $"keys at {issuer.JwksUri}"

            $"audiences {several issuer.Audiences}"
            $"algorithms {several issuer.Algorithms}"
            $"clock skew {Duration.Format issuer.ClockSkew}"

            if issuer.PermsClaim <> "" then
                $"permissions in {issuer.PermsClaim}"

            if issuer.Header = Decoded.TokenHeader.Authorization then
                if issuer.IsForwarded then
                    "in Authorization, kept"
                else
                    "in Authorization"

            for KeyValue(header, claim) in issuer.ForwardClaims do
                $"{header} from {claim}"
        ]
        |> String.concat "; "

/// The properties of a caller's token that decide whether an issuer's definition accepts it.
type TokenTraits =
    {
        /// The `iss`, and the URI of the keys that verify it. Both empty for a token of the flags' issuer.
        Issuer: string
        JwksUri: string
        Header: Decoded.TokenHeader
        Audience: string
        Algorithm: string
        /// How long ago it expired, by the server's clock; zero = it has not.
        ExpiredFor: TimeSpan
        /// The claim that contains its permissions.
        PermsClaim: string
    }

[<RequireQualifiedAccess>]
module TokenTraits =

    /// A token that the issuer accepts.
    let ofIssuer (issuer: TokenIssuer) : TokenTraits =
        {
            Issuer = issuer.Issuer
            JwksUri = issuer.JwksUri
            Header = issuer.Header
            Audience =
                if issuer.Audiences.IsEmpty then
                    ""
                else
                    issuer.Audiences.MinimumElement
            Algorithm = issuer.Algorithms.MinimumElement
            ExpiredFor = TimeSpan.Zero
            PermsClaim = issuer.PermsClaim
        }

    /// Whether the issuer's definition accepts the token.
    let isAccepted (issuer: TokenIssuer) (token: TokenTraits) : bool =
        issuer.Issuer = token.Issuer
        && issuer.JwksUri = token.JwksUri
        && issuer.Header = token.Header
        && (issuer.Audiences.Contains token.Audience
            || (issuer.IsDefault && token.Audience = ""))
        && issuer.Algorithms.Contains token.Algorithm
        && token.ExpiredFor <= issuer.ClockSkew

    /// Tokens that `issuer` accepts. Any token that `issuer` accepts and `other` rejects resembles one of them in the
    /// trait that `other` rejects.
    let candidates (issuer: TokenIssuer) (other: TokenIssuer option) : TokenTraits list =
        let plain = ofIssuer issuer

        [
            plain

            match other with
            | Some other ->
                for audience in Seq.truncate 1 (issuer.Audiences - other.Audiences) do
                    { plain with Audience = audience }

                for algorithm in Seq.truncate 1 (issuer.Algorithms - other.Algorithms) do
                    { plain with Algorithm = algorithm }

                if issuer.ClockSkew > other.ClockSkew then
                    { plain with
                        ExpiredFor = issuer.ClockSkew
                    }
            | None -> ()
        ]
