namespace Kedge.Domain

open System.Collections.Generic

/// What `kedge check` reports about issuers of tokens.
[<AbstractClass; Sealed>]
type IssuerFindings private () =

    /// `duplicate-issuer` for an entry of `token_issuers` with the same issuer as the one that the flags set up.
    /// `ofFlags` is null when they set up none.
    static member Findings(configuration: Configuration, ofFlags: TokenIssuer | null) : IReadOnlyList<Finding> =
        match ofFlags with
        | Null -> [||]
        | NonNull ofFlags ->
            [|
                for i, issuer in List.indexed configuration.Director.TokenIssuers do
                    if issuer.Issuer = ofFlags.Issuer then
                        let path = [ Field "token_issuers"; Step.Index i; Field "issuer" ]

                        let message =
                            $"the flags set up the same issuer, as {TokenIssuer.DefaultName}: a token of it counts as one of {issuer.Name} or of {TokenIssuer.DefaultName}, as the route says"

                        Finding(
                            Severity.Warning,
                            "duplicate-issuer",
                            configuration.DirectorSource.Locate path,
                            message,
                            []
                        )
            |]
