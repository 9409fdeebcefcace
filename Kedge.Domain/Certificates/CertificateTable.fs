namespace Kedge.Domain

open System
open System.Collections.Generic

/// The properties that decide which names a certificate is used for.
type CertificateFacts =
    {
        /// Its DNS names (RFC 6125, 6.4.4: the common name does not count): exact, or `*.` followed by a name.
        Names: string list
        NotBefore: DateTimeOffset
        NotAfter: DateTimeOffset
        /// Of the whole certificate, in hexadecimal.
        Sha256: string
    }

    member this.IsValidAt(now: DateTimeOffset) : bool = this.NotBefore <= now && now <= this.NotAfter

/// Chooses the certificate for a name: one that names it exactly, otherwise one with a wildcard for it. A `*` matches
/// exactly one label (RFC 6125, 6.4.3), unlike in a route. Among several certificates, those that are valid now come
/// first; then the most recently issued one, so that a renewal is used and not a stale copy; then the order of their
/// hashes decides, so that all replicas agree.
[<Sealed>]
type CertificateTable(certificates: CertificateFacts seq) =

    let certificates = Array.ofSeq certificates

    // The indexes of the certificates for each name, the preferred one first. Wildcards are keyed by the part after the
    // asterisk.
    let exact, wildcards =
        let exact = Dictionary<string, ResizeArray<int>>(StringComparer.OrdinalIgnoreCase)

        let wildcards =
            Dictionary<string, ResizeArray<int>>(StringComparer.OrdinalIgnoreCase)

        let add (names: Dictionary<string, ResizeArray<int>>) name index =
            match names.TryGetValue name with
            // A certificate that has the name twice is already the last one in the list.
            | true, known when known[known.Count - 1] = index -> ()
            | true, known -> known.Add index
            | _ -> names[name] <- ResizeArray [ index ]

        certificates
        |> Array.iteri (fun index certificate ->
            for name in certificate.Names do
                if name.StartsWith("*.", StringComparison.Ordinal) then
                    add wildcards (name.Substring 1) index
                else
                    add exact name index)

        let order a b =
            match compare certificates[b].NotBefore certificates[a].NotBefore with
            | 0 ->
                match String.CompareOrdinal(certificates[a].Sha256, certificates[b].Sha256) with
                | 0 -> compare a b
                | order -> order
            | order -> order

        for names in [ exact; wildcards ] do
            for known in names.Values do
                known.Sort(Comparison order)

        exact.GetAlternateLookup<ReadOnlySpan<char>>(), wildcards.GetAlternateLookup<ReadOnlySpan<char>>()

    let best (now: DateTimeOffset) (indexes: ResizeArray<int>) =
        let mutable found = -1

        for index in indexes do
            if found < 0 && certificates[index].IsValidAt now then
                found <- index

        if found < 0 then indexes[0] else found

    /// The index of the certificate for the name, or -1 when none names it. Letter case and one trailing dot are
    /// ignored. Allocates nothing.
    member _.Find(name: ReadOnlySpan<char>, now: DateTimeOffset) : int =
        let name =
            if name.Length > 0 && name[name.Length - 1] = '.' then
                name.Slice(0, name.Length - 1)
            else
                name

        let mutable indexes = null
        // An asterisk is not valid in a requested name.
        if name.Length = 0 || name.Contains '*' then
            -1
        elif exact.TryGetValue(name, &indexes) then
            best now indexes
        else
            match name.IndexOf '.' with
            | dot when dot > 0 && wildcards.TryGetValue(name.Slice dot, &indexes) -> best now indexes
            | _ -> -1

    /// The index of the certificate for names of one label before `parent`, unless a certificate has the name in full;
    /// -1 when no wildcard covers them.
    member _.FindBelow(parent: string, now: DateTimeOffset) : int =
        let mutable indexes = null

        if wildcards.TryGetValue(("." + parent).AsSpan(), &indexes) then
            best now indexes
        else
            -1

    /// Whether the certificate at the index is used for one of its names. For a wildcard, that means a name that no
    /// certificate has exactly.
    member this.IsUsed(index: int, now: DateTimeOffset) : bool =
        certificates[index].Names
        |> List.exists (fun name ->
            if name.StartsWith("*.", StringComparison.Ordinal) then
                this.FindBelow(name.Substring 2, now) = index
            else
                this.Find(name.AsSpan(), now) = index)

    /// Whether a request for `host` arrived on a connection that is for another certificate (RFC 9110, 15.5.20): its
    /// client asked for `name`, but the certificate for `host` is not the one that the client got, which is the first
    /// one when none names `name`. A host that no certificate names is not misdirected. Allocates nothing.
    member this.IsMisdirected(name: ReadOnlySpan<char>, host: ReadOnlySpan<char>, now: DateTimeOffset) : bool =
        if MemoryExtensions.Equals(name, host, StringComparison.OrdinalIgnoreCase) then
            false
        else
            let wanted = this.Find(host, now)
            wanted >= 0 && wanted <> max 0 (this.Find(name, now))
