namespace Kedge.Domain

open System
open System.Collections.Generic

/// The hosts for which clients get another certificate: a part of the report of `kedge diff`.
[<AbstractClass; Sealed>]
type CertificateDiff private () =

    static let text (choice: CertificateChoice) =
        match choice with
        | ByName(certificate, _)
        | ByDefault(Some certificate) -> $"{certificate.Issuer}, until {certificate.Until} ({certificate.Source})"
        | ByDefault None -> "the default certificate"
        | NoCertificate -> "no certificate: the handshake is refused"

    /// Identifies a choice: equal for two choices when clients get the same certificate.
    static let identity (choice: CertificateChoice) =
        match choice with
        | ByName(certificate, _)
        | ByDefault(Some certificate) -> certificate.Facts.Sha256
        | ByDefault None -> "default"
        | NoCertificate -> "refused"

    static let namesOf (certificates: ServerCertificates) =
        Seq.append (Option.toList certificates.Fallback) certificates.Named
        |> Seq.collect _.Facts.Names
        |> Seq.map _.ToLowerInvariant()

    /// The groups of hosts that the two sides may treat differently, each with one of its hosts. All hosts of a group
    /// get the same certificate. The group of a host is the host itself if a route, an ad-hoc rule or a certificate
    /// names it; otherwise the wildcard of a certificate; otherwise the group of all other hosts.
    static let groups (sides: (ServedHosts * ServerCertificates) list) =
        let names = HashSet<string>(sides |> Seq.collect (snd >> namesOf))

        let wildcards, exact =
            List.ofSeq names
            |> List.partition (fun name -> name.StartsWith("*.", StringComparison.Ordinal))

        let isTaken name = sides |> List.exists (fun (hosts, _) -> hosts.Takes name)

        let exact =
            Seq.append (sides |> Seq.collect (fun (hosts, _) -> hosts.Exact)) (Seq.filter isTaken exact)
            |> HashSet

        let isNamed name = exact.Contains name || names.Contains name

        let unnamed (parent: string) = Seq.initInfinite (fun i -> $"any{i}.{parent}") |> Seq.find (isNamed >> not)

        [
            for name in Seq.sort exact do
                name, name

            for wildcard in List.sort wildcards do
                let parent = wildcard.Substring 2

                if sides |> List.exists (fun (hosts, _) -> hosts.TakesMostBelow parent) then
                    wildcard, unnamed parent

            // A name of one label, which no wildcard of a certificate covers.
            if sides |> List.exists (fun (hosts, _) -> hosts.HasOthers) then
                "other hosts", Seq.initInfinite (fun i -> $"any{i}") |> Seq.find (isNamed >> not)
        ]

    /// `certificate-changed` for each host, or group of hosts, for which one of the configurations takes requests and
    /// clients get another certificate.
    static member Differences
        (before: Configuration, after: Configuration, was: ServerCertificates, is: ServerCertificates)
        : IReadOnlyList<Difference> =
        let sides = [ ServedHosts.Of before, was; ServedHosts.Of after, is ]

        [|
            for label, name in groups sides do
                let old, current = was.Choice name, is.Choice name

                if identity old <> identity current then
                    Difference("certificate-changed", $"{label}: {text old}", $"{label}: {text current}", "", "", "")
        |]
