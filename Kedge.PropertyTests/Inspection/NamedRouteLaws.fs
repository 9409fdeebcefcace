/// How `kedge diff` follows routes that have names.
module Kedge.PropertyTests.NamedRouteLaws

open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private named name (route: HttpRoute) : HttpRoute =
    { route with
        Marks = { route.Marks with Name = name }
    }

/// A table in which most routes have names, and one in which some of them have moved, changed, gone or come.
let private tables =
    gen {
        let! before = TableGenerators.table TableGenerators.httpRoute

        let! isNamed =
            Gen.elements [ true; true; true; false ] |> Gen.arrayOfLength before.Length

        let before =
            before
            |> Array.mapi (fun index route -> if isNamed[index] then named $"r{index}" route else route)

        let! kept =
            before
            |> List.ofArray
            |> List.map (fun route ->
                Gen.frequency
                    [
                        4, Gen.constant [ route ]
                        2,
                        TableGenerators.httpRoute
                        |> Gen.map (fun other -> [ named route.Marks.Name other ])
                        1, Gen.constant []
                    ])
            |> Gen.sequenceToList

        let! added = TableGenerators.httpRoute
        let! isAdded = Gen.elements [ true; false ]
        let all = List.concat kept @ (if isAdded then [ named "new" added ] else [])
        let! after = Gen.shuffle all
        return before, after
    }

let private nameOf (routes: HttpRoute array) index = routes[index].Marks.Name

[<Tests>]
let tests =
    testList
        "routes with names in diff"
        [
            Law.test
                "a route that keeps its name is changed, never removed and added, wherever it moves"
                2_000
                [ "changed", 500; "moved alone", 200; "removed", 200; "added", 200 ]
                (Arb.fromGen tables)
                (fun seen (before, after) ->
                    let semantics = RouteSemantics.http
                    let changes = Diff.routes semantics before after |> List.map _.Change

                    let names (routes: HttpRoute array) =
                        Set(routes |> Seq.map _.Marks.Name |> Seq.filter (fun name -> name <> ""))

                    let both = Set.intersect (names before) (names after)

                    for change in changes do
                        match change with
                        | Removed old when nameOf before old <> "" ->
                            seen.Count "removed"
                            Expect.isFalse (both.Contains(nameOf before old)) "it is not in the new table"
                        | Added current when nameOf after current <> "" ->
                            seen.Count "added"
                            Expect.isFalse (both.Contains(nameOf after current)) "it is not in the old table"
                        | _ -> ()

                    let find (routes: HttpRoute array) name =
                        let index = routes |> Array.findIndex (fun route -> route.Marks.Name = name)
                        index, routes[index]

                    for name in both do
                        let old, was = find before name
                        let current, is = find after name

                        let isChanged =
                            semantics.Conditions was <> semantics.Conditions is || was.Outcome <> is.Outcome

                        seen.When("changed", isChanged)
                        seen.When("moved alone", (not isChanged && old <> current))
                        let expected = if isChanged then [ Changed(old, current) ] else []

                        let own =
                            changes
                            |> List.filter (fun change ->
                                match change with
                                | Changed(a, b) -> a = old || b = current
                                | _ -> false)

                        Expect.equal own expected $"{name} is one change at most")
        ]
