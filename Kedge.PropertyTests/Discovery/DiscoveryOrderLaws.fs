/// What discovery generates does not depend on the order in which it learned of the services.
module Kedge.PropertyTests.DiscoveryOrderLaws

open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain.Discovery
open Kedge.PropertyTests.DiscoveryCases

let private upsertAll (services: Service seq) =
    (start, services) ||> Seq.fold (fun state service -> state.Upsert service)

let private look (seen: Seen) (generated: Generated) =
    seen.When("two claim the same", not generated.Conflicts.IsEmpty)
    seen.When("a last good version counts", generated.Quarantined |> List.exists (fun q -> q.RoutesKept > 0))
    seen.When("routes are made", generated.Entries.HttpRoutes.Length + generated.Entries.GrpcRoutes.Length > 1)

let private kinds =
    [
        "two claim the same", 50
        "a last good version counts", 50
        "routes are made", 250
    ]

let private shuffledWithRepeats =
    gen {
        let! versions = versions
        let! repeats = Gen.listOf (Gen.elements versions) |> Gen.resize 6
        let! shuffled = Gen.shuffle (versions @ repeats)
        return versions, List.ofArray shuffled
    }

let private interleavedHistories =
    gen {
        let! histories = histories
        let! mixed = interleaved histories
        return histories, mixed
    }

let private historyAndList =
    gen {
        let! histories = histories
        let! mixed = interleaved histories
        let! fresh = services
        let known = mixed |> List.map (fun event -> event.Key) |> List.distinct
        let! kept = Gen.subListOf known
        let! listed = kept |> List.map (fun key -> versionOf key 100) |> Gen.sequenceToList

        let others =
            fresh
            |> List.filter (fun service -> not (List.contains service.Key known))
            |> List.map (fun service -> { service with ResourceVersion = "100" })

        return mixed, List.ofSeq listed @ List.truncate 2 others
    }

[<Tests>]
let tests =
    testList
        "discovery: order of events"
        [
            Law.test
                "the versions of services give the same result in any order and however often"
                500
                kinds
                (Arb.fromGen shuffledWithRepeats)
                (fun seen (ordered, shuffled) ->
                    let expected = (upsertAll ordered).Generate()
                    look seen expected
                    Expect.equal ((upsertAll shuffled).Generate()) expected "same result")

            Law.test
                "the histories of different services commute"
                500
                (("a service is deleted", 150) :: kinds)
                (Arb.fromGen interleavedHistories)
                (fun seen (histories, mixed) ->
                    let expected = (List.fold apply start (List.concat histories)).Generate()
                    look seen expected

                    seen.When(
                        "a service is deleted",
                        mixed
                        |> List.exists (function
                            | Deleted _ -> true
                            | _ -> false)
                    )

                    Expect.equal ((List.fold apply start mixed).Generate()) expected "same result")

            Law.test
                "a full list is the same as the events that lead to it"
                500
                [
                    "routes are made", 250
                    "a last good version counts", 25
                    "a service is missing", 250
                ]
                (Arb.fromGen historyAndList)
                (fun seen (history, services) ->
                    let before = List.fold apply start history
                    let listed = services |> List.map (fun service -> service.Key) |> Set.ofList
                    let missing = keys |> List.filter (fun key -> not (listed.Contains key))

                    let byEvents =
                        List.fold apply before (List.map Deleted missing @ List.map Upserted services)

                    let expected = byEvents.Generate()
                    look seen expected

                    seen.When(
                        "a service is missing",
                        history |> List.exists (fun event -> List.contains event.Key missing)
                    )

                    Expect.equal ((before.Replace services).Generate()) expected "same result")

            Law.test
                "where every version is good, the newest ones alone decide"
                500
                [ "routes are made", 250; "a service has several versions", 400 ]
                (Arb.fromGen (versions |> Gen.map (List.map repaired)))
                (fun seen versions ->
                    let newest =
                        versions
                        |> List.groupBy (fun service -> service.Key)
                        |> List.map (fun (_, versions) -> List.last versions)

                    let expected = (start.Replace newest).Generate()
                    look seen expected
                    seen.When("a service has several versions", newest.Length < versions.Length)
                    Expect.equal ((upsertAll versions).Generate()) expected "same result")

            Law.test
                "files that come after the services give the same result as files that come before"
                500
                [ "a file's route wins", 50 ]
                (Arb.fromGen (Gen.zip versions director))
                (fun seen (versions, director) ->
                    let first = DiscoveryState.Create(options, files director pool)

                    let before =
                        (first, versions) ||> List.fold (fun state service -> state.Upsert service)

                    let after = (upsertAll versions).WithFiles(files director pool)
                    let expected = before.Generate()

                    seen.When(
                        "a file's route wins",
                        expected.Conflicts |> List.exists (fun conflict -> conflict.Winner.IsFileRoute)
                    )

                    Expect.equal (after.Generate()) expected "same result")
        ]
