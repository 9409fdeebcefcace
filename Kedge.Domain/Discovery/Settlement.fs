namespace Kedge.Domain.Discovery

open System
open System.Collections.Generic
open Kedge.Domain
open Kedge.Domain.Decoded

/// The host, port, protocol and methods that a claim is for. Two claims for the same place are in conflict.
[<Struct; CustomEquality; NoComparison>]
type private Place(claim: Claim) =
    member private _.Claim = claim

    override _.GetHashCode() = HashCode.Combine(claim.Host, claim.Port, claim.Protocol.IsHttp, claim.Methods)

    override place.Equals(other: obj) =
        match other with
        | :? Place as other -> (place :> IEquatable<Place>).Equals other
        | _ -> false

    interface IEquatable<Place> with
        member _.Equals(other: Place) =
            let other = other.Claim

            claim.Port = other.Port
            && String.Equals(claim.Host, other.Host)
            && claim.Protocol.IsHttp = other.Protocol.IsHttp
            && claim.Methods.Equals other.Methods

/// Settles which claim is served when several services claim the same place.
module internal Settlement =

    /// The winner comes first: the claim of the oldest service. Namespace and name break ties, then the order of the
    /// ports within the service.
    let private byPrecedence (left: Claim) (right: Claim) =
        let created = compare left.Created right.Created

        if created <> 0 then
            created
        else
            let space = String.CompareOrdinal(left.Service.Namespace, right.Service.Namespace)

            if space <> 0 then
                space
            else
                let name = String.CompareOrdinal(left.Service.Name, right.Service.Name)

                if name <> 0 then
                    name
                else
                    compare left.PortIndex right.PortIndex

    /// Exact hosts in order of their names; after them wildcards, longer ones first, so that each precedes all others
    /// that take its hosts.
    let private byHost (left: string) (right: string) =
        match left.StartsWith '*', right.StartsWith '*' with
        | true, false -> 1
        | false, true -> -1
        | true, true when left.Length <> right.Length -> compare right.Length left.Length
        | _ -> String.CompareOrdinal(left, right)

    let private byPlace (left: Claim) (right: Claim) =
        let host = byHost left.Host right.Host

        if host <> 0 then
            host
        else
            let struct (kind, length, text) = ServicePattern.rank left.Methods
            let struct (otherKind, otherLength, otherText) = ServicePattern.rank right.Methods

            if kind <> otherKind then
                compare kind otherKind
            elif length <> otherLength then
                compare length otherLength
            else
                let byText = String.CompareOrdinal(text, otherText)
                if byText <> 0 then byText else compare left.Port right.Port

    let private conflictOf (loser: Claim) (winner: Winner) : Conflict =
        {
            Protocol = loser.Protocol
            Host = loser.Host
            Port = loser.Port
            ServiceNameMatcher = loser.ServiceNameMatcher
            Loser = loser.Service
            LosingBackend = loser.Backend.Name
            Winner = winner
        }

    /// The claims that are served, and for all others what is served instead.
    let settle (files: FileClaims) (claims: Claim array) : struct (Claim array * Conflict list) =
        let winners = Dictionary<Place, Claim> claims.Length
        // The claims of places that are claimed more than once, without the winner so far.
        let losers = ResizeArray<Claim>()
        let conflicts = ResizeArray<Conflict>()

        for claim in claims do
            match files.TryCovering claim with
            | ValueSome(struct (index, backend)) -> conflicts.Add(conflictOf claim (FileRoute(index, backend)))
            | ValueNone ->
                let place = Place claim

                match winners.TryGetValue place with
                | true, best when byPrecedence best claim <= 0 -> losers.Add claim
                | true, best ->
                    losers.Add best
                    winners[place] <- claim
                | _ -> winners[place] <- claim

        for loser in losers do
            let winner = winners[Place loser]
            conflicts.Add(conflictOf loser (GeneratedRoute(winner.Service, winner.Backend.Name)))

        let served = Seq.toArray winners.Values
        Array.Sort(served, Comparison byPlace)

        let sorted =
            conflicts
            |> List.ofSeq
            |> List.sortBy (fun c -> c.Host, c.Port, c.Protocol, c.ServiceNameMatcher, c.Loser, c.LosingBackend)

        struct (served, sorted)

    /// `readings` contains, for each service, its current reading and the claims that count.
    let generate (files: FileClaims) (readings: seq<struct (ServiceKey * ServiceReading * Claim list)>) : Generated =
        let readings = Array.ofSeq readings

        let struct (served, conflicts) =
            settle
                files
                [|
                    for struct (_, _, claims) in readings do
                        yield! claims
                |]

        let backends protocol =
            let names = HashSet<string>()

            let backends =
                served
                |> Array.filter (fun claim ->
                    claim.Protocol = protocol
                    && names.Add claim.Backend.Name
                    && not (files.HasBackend(protocol, claim.Backend.Name)))
                |> Array.map _.Backend

            Array.Sort(backends, Comparison(fun (left: Backend) right -> String.CompareOrdinal(left.Name, right.Name)))
            List.ofArray backends

        {
            Entries =
                {
                    HttpRoutes =
                        [
                            for claim in served do
                                match claim.Route with
                                | HttpClaim route -> route
                                | GrpcClaim _ -> ()
                        ]
                    GrpcRoutes =
                        [
                            for claim in served do
                                match claim.Route with
                                | GrpcClaim route -> route
                                | HttpClaim _ -> ()
                        ]
                    Backends = PerProtocol.Init backends
                }
            Conflicts = conflicts
            IgnoredPorts =
                [
                    for struct (key, reading, _) in readings do
                        for port, reason in reading.Ignored do
                            {
                                Service = key
                                PortName = port.Name
                                Port = port.Port
                                Reason = reason
                            }
                ]
            Quarantined =
                [
                    for struct (key, reading, claims) in readings do
                        if not reading.Faults.IsEmpty then
                            {
                                Service = key
                                Faults = reading.Faults
                                RoutesKept = claims.Length
                            }
                ]
            OverriddenBackends =
                served
                |> Seq.filter (fun claim -> files.HasBackend(claim.Protocol, claim.Backend.Name))
                |> Seq.map (fun claim ->
                    {
                        Protocol = claim.Protocol
                        Name = claim.Backend.Name
                        Service = claim.Service
                    })
                |> Seq.distinct
                |> Seq.sortBy (fun o -> o.Protocol, o.Name)
                |> List.ofSeq
        }
