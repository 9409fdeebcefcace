namespace Kedge.Domain

open System
open System.Collections.Generic
open System.Net

/// A caller whom one of two sets of demands admits and the other does not.
type WitnessCaller =
    {
        /// Whether the caller has what the server's flags require.
        MeetsFlags: bool
        Permissions: string list
        /// The token with the permissions and claims; None = a token of the issuer that the flags set up.
        Token: (TokenIssuer * TokenTraits) option
        /// The claims of the token, each with one value.
        Claims: Map<string, string>
        /// None = without a client certificate.
        Certificate: SubjectAltName option
        /// None = any address.
        Address: IPAddress option
    }

    /// The token, as seen by a rule that accepts tokens of these issuers.
    member private caller.TokenFor(issuers: TokenIssuer array) : TokenState =
        let verified (name: string) (permissions: string list) (claims: Map<string, string>) =
            let claims =
                claims
                |> Map.toSeq
                |> Seq.map (fun (claim, value) -> KeyValuePair(claim, [| value |]))

            ValidToken(VerifiedToken.Of(name, Permissions.OfList permissions, "", claims))

        if not caller.MeetsFlags then
            NoToken
        elif issuers.Length = 0 then
            match caller.Token with
            | None -> verified TokenIssuer.DefaultName caller.Permissions caller.Claims
            // Then it is another token that meets the flags.
            | Some _ -> verified TokenIssuer.DefaultName [] Map.empty
        else
            let traits =
                match caller.Token with
                | Some(_, traits) -> traits
                | None -> TokenTraits.ofIssuer TokenIssuer.Default

            match issuers |> Array.tryFind (fun issuer -> TokenTraits.isAccepted issuer traits) with
            | None -> BadToken "it is not accepted"
            | Some issuer when
                issuer.IsDefault
                || (issuer.PermsClaim <> "" && issuer.PermsClaim = traits.PermsClaim)
                ->
                verified issuer.Name caller.Permissions caller.Claims
            | Some issuer -> verified issuer.Name [] caller.Claims

    /// The caller, as seen by a rule with these demands.
    member caller.AsCaller(demands: RouteDemands) : Caller =
        let token = caller.TokenFor demands.Tokens.Definitions

        let certificate: (SubjectAltName array) | null =
            match caller.Certificate with
            | Some name -> [| name |]
            | None -> null

        let address: IPAddress | null =
            match caller.Address with
            | Some address -> address
            | None -> null

        Caller(token, certificate, address)

    /// In words: `from 10.1.0.0, with the permission shop.read`.
    member caller.Text: string =
        [
            match caller.Address with
            | Some address -> $"from {address}"
            | None -> ()

            match caller.Token with
            | Some(issuer, _) when caller.MeetsFlags && issuer.Name = TokenIssuer.UnknownName ->
                "without a token of such an issuer"
            | Some(issuer, traits) when caller.MeetsFlags ->
                let usual = TokenTraits.ofIssuer issuer

                [
                    $"with a token of {issuer.Name}"

                    if traits.Audience <> usual.Audience then
                        $"for {traits.Audience}"

                    if traits.Algorithm <> usual.Algorithm then
                        $"signed with {traits.Algorithm}"

                    if traits.ExpiredFor > TimeSpan.Zero then
                        $"that expired {Duration.Format traits.ExpiredFor} ago"
                ]
                |> String.concat " "
            | _ -> ()

            match caller.Permissions with
            | _ when not caller.MeetsFlags -> "without a token"
            | [] when caller.Token.IsSome -> ()
            | [] -> "with what the flags require"
            | [ one ] -> $"with the permission {one}"
            | several -> "with the permissions " + String.concat ", " several

            if caller.MeetsFlags then
                for KeyValue(claim, value) in caller.Claims do
                    $"with {claim} {value}"

            match caller.Certificate with
            | Some(DnsSan name)
            | Some(UriSan name)
            | Some(EmailSan name) -> $"with a client certificate for {name}"
            | None -> ()
        ]
        |> String.concat ", "

/// Compares whom two sets of demands admit. What the server's flags require of everyone is the same for both, and
/// counts as one demand that a caller either meets or does not meet.
[<RequireQualifiedAccess>]
module Admission =

    /// The flags' requirements for the decision about a witness: a token if the caller does not meet the flags,
    /// otherwise none.
    let private serverOf (caller: WitnessCaller) =
        if caller.MeetsFlags then
            ServerDemands.None
        else
            ServerDemands.Token

    /// What happens to the caller's requests: `admitted`, `401` or `403`.
    let decide (demands: RouteDemands) (caller: WitnessCaller) : string =
        match Access.Decide(serverOf caller, demands, caller.AsCaller demands) with
        | Allowed -> "admitted"
        | Unauthenticated _ -> "401"
        | Forbidden _ -> "403"
        | Undecidable _ -> "503"

    let private isAdmitted demands caller = decide demands caller = "admitted"

    /// The smallest sets of permissions that meet the demands.
    let private leastPermissions (demands: RouteDemands) =
        let all = demands.AllPerms |> Array.toList |> List.distinct

        if demands.AnyPerms.Length = 0 then
            [ all ]
        else
            [
                for any in demands.AnyPerms -> if List.contains any all then all else any :: all
            ]

    let private exactNames (demands: RouteDemands) =
        demands.Sans
        |> Array.choose (fun matcher ->
            match matcher with
            | ExactDns name -> Some name
            | _ -> None)

    /// For each matcher of the demands, a name such that every matcher that matches it is at least as wide: for a
    /// wildcard, a name that `other` does not list exactly.
    let private names (demands: RouteDemands) (other: RouteDemands) =
        if demands.Sans.Length = 0 then
            [ None ]
        else
            let exact = exactNames other

            [
                for matcher in demands.Sans do
                    match matcher with
                    | ExactDns name -> Some(DnsSan name)
                    | ExactUri uri -> Some(UriSan uri)
                    | ExactEmail email -> Some(EmailSan email)
                    | DnsOneLabelBelow parent ->
                        let isFresh (label: string) =
                            exact
                            |> Array.forall (fun name ->
                                not (String.Equals(name, $"{label}.{parent}", StringComparison.OrdinalIgnoreCase)))

                        let label =
                            seq {
                                "any"

                                for i in 1 .. exact.Length do
                                    $"any{i}"
                            }
                            |> Seq.find isFresh

                        Some(DnsSan $"{label}.{parent}")
            ]

    /// The issuer of a token whose issuer no rule names.
    let private stranger =
        { TokenIssuer.Default with
            Name = TokenIssuer.UnknownName
            Issuer = TokenIssuer.UnknownName
        }

    /// Tokens that meet the demands, each with its issuer, including one for each reason why `other` may not accept it.
    let private tokens (demands: RouteDemands) (other: RouteDemands) : (TokenIssuer * TokenTraits) option list =
        if demands.Tokens.Definitions.Length = 0 then
            // If no issuer is named, the caller may also have a token that no other rule accepts.
            [ None; Some(stranger, TokenTraits.ofIssuer stranger) ]
        else
            [
                for issuer in demands.Tokens.Definitions do
                    if issuer.IsDefault then
                        None
                    else
                        let theirs =
                            other.Tokens.Definitions
                            |> Array.tryFind (fun other -> other.Issuer = issuer.Issuer)

                        for traits in TokenTraits.candidates issuer theirs do
                            Some(issuer, traits)
            ]

    /// The smallest set of claims that meets the demands, and for each claim for which `other` accepts different
    /// values, the same set with a value that `other` does not accept.
    let private claims (demands: RouteDemands) (other: RouteDemands) : Map<string, string> list =
        // No token meets a claim without accepted values.
        let own =
            demands.Tokens.Claims
            |> Array.filter (fun (struct (_, values)) -> values.Length > 0)

        let plain = Map.ofList [ for struct (claim, values) in own -> claim, values[0] ]

        [
            plain

            for struct (claim, values) in own do
                for struct (theirs, accepted) in other.Tokens.Claims do
                    if theirs = claim then
                        match values |> Array.tryFind (fun value -> not (Array.contains value accepted)) with
                        | Some value -> plain.Add(claim, value)
                        | None -> ()
        ]

    let private addresses (demands: RouteDemands) (other: RouteDemands) =
        if isNull demands.Networks && isNull other.Networks then
            [ None ]
        else
            let orAll (networks: AddressSet | null) =
                match networks with
                | null -> AddressSet.All
                | networks -> networks

            let own = orAll demands.Networks
            let outside = own.Except(orAll other.Networks)

            [ outside.Lowest; own.Lowest ] |> List.filter Option.isSome |> List.distinct

    /// A caller whom `demands` admits and `other` does not; none when `other` admits everyone whom `demands` admits.
    ///
    /// Exact: a caller presents an address, a token with permissions and claims, and a name, and each demand concerns
    /// one of these. A caller that meets `demands` but not `other` fails one of the demands of `other`. One of the
    /// callers tried has the same or less of what that demand concerns, so it fails that demand too, and meets
    /// `demands` in every other respect.
    let onlyAdmittedBy (demands: RouteDemands) (other: RouteDemands) : WitnessCaller option =
        seq {
            // Only anonymous routes admit a caller who does not meet the flags.
            for meetsFlags in [ true; false ] do
                for address in addresses demands other do
                    for permissions in leastPermissions demands do
                        for name in names demands other do
                            for token in tokens demands other do
                                for claims in claims demands other do
                                    {
                                        MeetsFlags = meetsFlags
                                        Permissions = if meetsFlags then permissions else []
                                        Token = if meetsFlags then token else None
                                        Claims = if meetsFlags then claims else Map.empty
                                        Certificate = name
                                        Address = address
                                    }
        }
        |> Seq.tryFind (fun caller -> isAdmitted demands caller && not (isAdmitted other caller))
