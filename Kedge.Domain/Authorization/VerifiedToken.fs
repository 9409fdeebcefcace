namespace Kedge.Domain

open System.Collections.Frozen
open System.Collections.Generic

/// What kedge keeps of a token after it verifies the signature, issuer, audience and times.
[<Sealed>]
type VerifiedToken
    (issuer: string, permissions: Permissions, subject: string, claims: FrozenDictionary<string, string array>) =

    /// A token of the issuer that the flags set up, without claims.
    new(permissions: Permissions, subject: string) =
        VerifiedToken(TokenIssuer.DefaultName, permissions, subject, FrozenDictionary.Empty)

    /// The name of the issuer.
    member _.Issuer = issuer
    member _.Permissions = permissions
    /// Whom the token was issued to; empty when it does not say.
    member _.Subject = subject

    /// The values of a claim: several when the claim is a list. Empty when the token does not have it, or when the
    /// configuration does not refer to it.
    member _.Claim(name: string) : string array =
        // Not as a tuple, which allocates where the compiler does not optimise.
        let mutable values = Unchecked.defaultof<string array>
        if claims.TryGetValue(name, &values) then values else [||]

    /// The same token with these claims.
    static member Of
        (
            issuer: string,
            permissions: Permissions,
            subject: string,
            claims: IEnumerable<KeyValuePair<string, string array>>
        ) =
        VerifiedToken(issuer, permissions, subject, claims.ToFrozenDictionary())
