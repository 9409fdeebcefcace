namespace Kedge.Domain

open System
open System.Collections.Frozen
open System.Collections.Generic

/// What a token's permissions claim grants. Names are compared character by character.
[<Sealed>]
type Permissions private (names: FrozenSet<string>) =
    static let none = Permissions FrozenSet.Empty

    static let ofNames (names: string seq) =
        let names =
            names
            |> Seq.filter (String.IsNullOrWhiteSpace >> not)
            |> _.ToFrozenSet(StringComparer.Ordinal)

        if names.Count = 0 then none else Permissions names

    static member None = none

    /// A claim that is a text: names separated by spaces, like OAuth's `scope` (RFC 6749, 3.3). Null grants nothing.
    static member OfText(claim: string | null) : Permissions =
        match claim with
        | null -> none
        | claim -> ofNames (claim.Split(' ', StringSplitOptions.RemoveEmptyEntries))

    /// A claim that is a list: each entry is one name, whatever characters it contains. Null and blank entries grant
    /// nothing.
    static member OfList(claim: IEnumerable<string> | null) : Permissions =
        match claim with
        | null -> none
        | claim -> ofNames claim

    member _.Names: IReadOnlyCollection<string> = names
    member _.Has(name: string) : bool = names.Contains name
