namespace Kedge.Domain

open Kedge.Domain.Decoded

/// The fields of an entry of `token_issuers` in `director.json`.
[<RequireQualifiedAccess>]
module internal IssuerJson =

    open Decode

    let headers =
        [
            "PROXY_AUTHORIZATION", TokenHeader.ProxyAuthorization
            "AUTHORIZATION", TokenHeader.Authorization
        ]

    let forwardings = [ "REMOVE", TokenForwarding.Remove; "KEEP", TokenForwarding.Keep ]

    let tokenIssuer: Decoder<TokenIssuer> =
        message (
            fields {
                let! name = field "name" text
                and! issuer = field "issuer" text
                and! jwksUri = field "jwks_uri" text
                and! audiences = field "audiences" (list text)
                and! header = field "header" (enumeration headers enum<TokenHeader>)
                and! permsClaim = field "perms_claim" text
                and! algorithms = field "algorithms" (list text)
                and! clockSkew = field "clock_skew" duration
                and! forward = field "forward" (enumeration forwardings enum<TokenForwarding>)
                and! forwardClaims = field "forward_claims" textMap

                return
                    {
                        TokenIssuer.Name = name
                        Issuer = issuer
                        JwksUri = jwksUri
                        Audiences = audiences
                        Header = header
                        PermsClaim = permsClaim
                        Algorithms = algorithms
                        ClockSkew = clockSkew
                        Forward = forward
                        ForwardClaims = forwardClaims
                    }
            }
        )
