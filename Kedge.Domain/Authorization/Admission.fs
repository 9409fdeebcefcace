namespace Kedge.Domain

open System
open System.Net

/// A caller who shows what one of two sets of demands asks for and the other does not.
type WitnessCaller =
    {
        /// Whether the caller has what the server's flags require.
        MeetsFlags: bool
        Permissions: string list
        /// None = without a client certificate.
        Certificate: SubjectAltName option
        /// None = any address.
        Address: IPAddress option
    }

    member caller.AsCaller: Caller =
        let token =
            if caller.MeetsFlags then
                ValidToken(Permissions.OfList caller.Permissions, "")
            else
                NoToken

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

            match caller.Permissions with
            | _ when not caller.MeetsFlags -> "without a token"
            | [] -> "with what the flags require"
            | [ one ] -> $"with the permission {one}"
            | several -> "with the permissions " + String.concat ", " several

            match caller.Certificate with
            | Some(DnsSan name)
            | Some(UriSan name)
            | Some(EmailSan name) -> $"with a client certificate for {name}"
            | None -> ()
        ]
        |> String.concat ", "

/// Compares whom two sets of demands admit. What the server's flags require of everyone is the same for both, and
/// counts as one demand that a caller meets or does not.
[<RequireQualifiedAccess>]
module Admission =

    /// What the flags require, for the decision about a witness: a token, when the caller lacks what they require.
    let private serverOf (caller: WitnessCaller) =
        if caller.MeetsFlags then
            ServerDemands.None
        else
            ServerDemands.Token

    /// What becomes of the caller's requests: `admitted`, `401` or `403`.
    let decide (demands: RouteDemands) (caller: WitnessCaller) : string =
        match Access.Decide(serverOf caller, demands, caller.AsCaller) with
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

    /// For each name that meets the demands, one that whatever matches is at least as wide as the matcher: a wildcard is
    /// met by a name that `other` does not give exactly.
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
    /// Exact: what a caller shows is an address, permissions and a name, and each demand is about one of them. Should a
    /// caller meet `demands` and miss `other`, it misses one of the demands of `other`. One of the callers tried has the
    /// same or less of that one thing, so it misses that demand, too, and meets `demands` in every other respect.
    let onlyAdmittedBy (demands: RouteDemands) (other: RouteDemands) : WitnessCaller option =
        seq {
            // A caller without what the flags require is admitted by anonymous routes alone.
            for meetsFlags in [ true; false ] do
                for address in addresses demands other do
                    for permissions in leastPermissions demands do
                        for name in names demands other do
                            {
                                MeetsFlags = meetsFlags
                                Permissions = if meetsFlags then permissions else []
                                Certificate = name
                                Address = address
                            }
        }
        |> Seq.tryFind (fun caller -> isAdmitted demands caller && not (isAdmitted other caller))
