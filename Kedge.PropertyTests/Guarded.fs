namespace Kedge.PropertyTests

open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp

/// Counts how often a law's cases were of a kind that it is about.
type Seen() =
    let counts = Dictionary<string, int>()

    member _.Count kind =
        match counts.TryGetValue kind with
        | true, count -> count
        | _ -> 0

    member seen.When(kind: string, holds: bool) =
        if holds then
            counts[kind] <- seen.Count kind + 1

[<RequireQualifiedAccess>]
module Guarded =

    let private cases = 500

    /// A law over generated cases. Each kind that is listed must turn up among at least so many in a hundred of them;
    /// a law whose cases never come to its point proves nothing.
    let law (name: string) (kinds: (string * int) list) (generator: Gen<'case>) (check: Seen -> 'case -> unit) : Test =
        testCase name (fun () ->
            let seen = Seen()

            let met () =
                kinds
                |> List.forall (fun (kind, percent) -> seen.Count kind * 100 >= percent * cases)

            // By chance a round may miss its point; three that do are no chance.
            let mutable rounds = 0

            while rounds = 0 || (not (met ()) && rounds < 3) do
                rounds <- rounds + 1
                Law.check cases (Arb.fromGen generator) (check seen)

            for kind, percent in kinds do
                Expect.isGreaterThanOrEqual
                    (seen.Count kind * 100)
                    (percent * cases)
                    $"vacuous: too few cases where {kind}")
