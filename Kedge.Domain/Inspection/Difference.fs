namespace Kedge.Domain

/// One thing that `kedge diff` reports about two configurations.
[<Sealed>]
type Difference
    internal
    (kind: string, before: string, after: string, witness: string, moveBefore: string, moveAfter: string, caller: string)
    =

    internal new(kind, before, after, witness, moveBefore, moveAfter) =
        Difference(kind, before, after, witness, moveBefore, moveAfter, "")

    /// `route-added`, `route-removed`, `route-changed`, `route-order`, `adhoc-rules`, `backend-added`,
    /// `backend-removed`, `backend-changed`, `rate-limit-added`, `rate-limit-removed`, `rate-limit-changed`,
    /// `token-issuer-added`, `token-issuer-removed`, `token-issuer-changed`, `access-loosened`, `access-tightened`,
    /// `certificate-changed`, `weights-changed`.
    member _.Kind: string = kind
    /// The entry in the old configuration; empty when there is none.
    member _.Before: string = before
    /// The entry in the new configuration; empty when there is none.
    member _.After: string = after
    /// A request that goes elsewhere because of it, as arguments of `kedge explain`; empty when no request does.
    member _.Witness: string = witness
    /// Where that request went, or what happened to it; empty without a witness.
    member _.WitnessBefore: string = moveBefore
    /// Where it goes now, or what happens to it; empty without a witness.
    member _.WitnessAfter: string = moveAfter
    /// Who sends the witness: for a change of access, a caller whom only the old or only the new demands admit; for a
    /// change of weights, a caller with the key, unless the witness contains it. Otherwise empty.
    member _.Caller: string = caller
