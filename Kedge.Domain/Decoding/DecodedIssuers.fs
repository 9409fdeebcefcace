namespace Kedge.Domain.Decoded

open System

/// The header in which callers send tokens of an issuer. The numbers are those of the enum in JSON.
type TokenHeader =
    | ProxyAuthorization = 0
    | Authorization = 1

/// Whether the token is forwarded. The numbers are those of the enum in JSON.
type TokenForwarding =
    | Remove = 0
    | Keep = 1

/// An issuer of tokens, and which of its tokens are accepted.
type TokenIssuer =
    {
        /// For routes, metrics and reports.
        Name: string
        /// The `iss` of its tokens, compared character by character (RFC 7519, 4.1.1). Its discovery document is below
        /// this URL, unless there is a `jwks_uri`.
        Issuer: string
        /// The URL of its key set (RFC 7517); empty = the one in its discovery document.
        JwksUri: string
        /// A token must be for one of these (RFC 7519, 4.1.3).
        Audiences: string list
        Header: TokenHeader
        /// The claim with the permissions; empty = tokens grant none.
        PermsClaim: string
        /// Empty = all that are supported.
        Algorithms: string list
        /// How much the clocks of issuer and server may differ; zero = 30 s.
        ClockSkew: TimeSpan
        Forward: TokenForwarding
        /// Headers that backends get, each with the claim that supplies its value. Callers cannot send them.
        ForwardClaims: Map<string, string>
    }
