namespace Kedge.Domain

open System.Collections.Generic

/// Issuers of tokens in reports.
[<RequireQualifiedAccess>]
module internal IssuerText =

    let private names (values: string seq) = String.concat ", " values

    /// The issuers of a route as differences show them: `, with tokens of staff (issuer https://id.example.com; …)`.
    let changed (issuers: TokenIssuer list) : string =
        if issuers.IsEmpty then
            ", without token issuers"
        else
            let issuers =
                issuers
                |> List.map (fun issuer ->
                    if issuer.IsDefault then
                        issuer.Name
                    else
                        $"{issuer.Name} ({issuer.Text})")

            $", with tokens of {names issuers}"

    /// Whether `issuer` accepts a token that `other` does not accept, or finds permissions where `other` does not look.
    let private acceptsMore (issuer: TokenIssuer) (other: TokenIssuer) =
        (issuer.PermsClaim <> "" && issuer.PermsClaim <> other.PermsClaim)
        || TokenTraits.candidates issuer (Some other)
           |> List.exists (fun token -> not (TokenTraits.isAccepted other token))

    /// What a change of an issuer means for callers: `: tightened`; empty when it admits the same callers.
    let private direction (before: TokenIssuer) (after: TokenIssuer) : string =
        match acceptsMore after before, acceptsMore before after with
        | true, true -> ": changed"
        | true, false -> ": loosened"
        | false, true -> ": tightened"
        | false, false -> ""

    let private entry (issuer: TokenIssuer) : string = $"{issuer.Name}: {issuer.Text}"

    /// How the issuers of two configurations differ.
    let differences (before: TokenIssuer list) (after: TokenIssuer list) : Difference list =
        let find (issuers: TokenIssuer list) name = issuers |> List.tryFind (fun issuer -> issuer.Name = name)
        let difference kind was now = Difference(kind, was, now, "", "", "")

        [
            for issuer in before do
                match find after issuer.Name with
                | None -> difference "token-issuer-removed" (entry issuer) ""
                | Some now when now <> issuer ->
                    difference "token-issuer-changed" (entry issuer) (entry now + direction issuer now)
                | Some _ -> ()

            for issuer in after do
                if (find before issuer.Name).IsNone then
                    difference "token-issuer-added" "" (entry issuer)
        ]

    /// What a rule and the flags require of tokens, and whether a token meets each requirement.
    let explain
        (server: ServerDemands)
        (demands: RouteDemands)
        (token: VerifiedToken | null)
        (audiences: Set<string>)
        (accepted: Set<string>)
        : IReadOnlyList<string> =
        let unauthenticated = "401 unauthorized"
        let forbidden = "403 unauthorized"

        let line what isMet refusal =
            if isMet then
                $"{what}: met"
            else
                $"{what}: not met: {refusal}"

        let permissions (whose: string) (any: string array) (all: string seq) (token: VerifiedToken) =
            [
                if any.Length > 0 then
                    line $"{whose}any permission of {names any}" (Array.exists token.Permissions.Has any) forbidden

                for permission in all do
                    line $"{whose}permission {permission}" (token.Permissions.Has permission) forbidden
            ]

        [|
            if not (Access.TokenMatters(server, demands)) then
                "token: any, or none, is admitted"
            else
                match token with
                | null -> $"token: of no issuer that is known: {unauthenticated}"
                | token when not (demands.Tokens.Accept token.Issuer) ->
                    $"token: of {token.Issuer}, which is not accepted: {unauthenticated}"
                | token when (Set.intersect audiences accepted).IsEmpty ->
                    $"token: of {token.Issuer}, for another audience than {names accepted}: {unauthenticated}"
                | token ->
                    $"token: of {token.Issuer}: accepted, if its signature and times are valid"

                    let required =
                        if server.RequiredPerm = "" then
                            []
                        else
                            [ server.RequiredPerm ]

                    yield! permissions "the flags' " server.AnyPerms required token
                    yield! permissions "" demands.AnyPerms demands.AllPerms token

                    for struct (claim, values) in demands.Tokens.Claims do
                        let isMet =
                            token.Claim claim |> Array.exists (fun value -> Array.contains value values)

                        line $"claim {claim} of {names values}" isMet forbidden
        |]
