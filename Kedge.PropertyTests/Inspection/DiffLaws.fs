module Kedge.PropertyTests.DiffLaws

open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.TableGenerators

/// Two tables as one array, which shrinks route by route: (in the old table, place in the new one, route).
let private split (both: struct (bool * int * 'route) array) =
    let before =
        both
        |> Array.choose (fun (struct (old, _, route)) -> if old then Some route else None)

    let after =
        both
        |> Array.filter (fun (struct (_, place, _)) -> place >= 0)
        |> Array.sortBy (fun (struct (_, place, _)) -> place)
        |> Array.map (fun (struct (_, _, route)) -> route)

    before, after

// Most routes are in both tables and most keep their place, as in a change that people make.
let private pair (route: FsCheck.Gen<'route>) =
    gen {
        let! routes = table route

        let! inOld =
            Gen.arrayOfLength routes.Length (Gen.frequency [ 5, Gen.constant true; 1, Gen.constant false ])

        let! places =
            Gen.arrayOfLength
                routes.Length
                (Gen.frequency [ 5, Gen.constant 0; 1, Gen.constant -1; 1, Gen.choose (1, 100) ])

        return
            Array.init routes.Length (fun i ->
                let place = if places[i] = 0 then i * 10 else places[i]
                struct (inOld[i], place, routes[i]))
    }

/// The same routes in another order.
let private reordered (route: FsCheck.Gen<'route>) =
    gen {
        let! routes = table route
        let! places = Gen.arrayOfLength routes.Length (Gen.choose (0, 100))
        return Array.init routes.Length (fun i -> struct (true, places[i], routes[i]))
    }

let private laws (subject: Subject<'route, 'request>) =
    let diff = Diff.routes subject.Semantics

    let moved (before, after) =
        subject.Universe
        |> Array.filter (fun request -> subject.Outcome before request <> subject.Outcome after request)

    testList
        subject.Name
        [
            law "a table does not differ from itself" subject.Table 100 (fun routes -> routes.Length > 1) (fun routes ->
                Expect.isEmpty (diff routes routes) "")

            law
                "a difference's request goes to the two winners, which are not the same outcome"
                (pair subject.Route)
                50
                (fun both -> diff <|| split both |> List.exists _.Move.IsSome)
                (fun both ->
                    let before, after = split both

                    for difference in diff before after do
                        match difference.Move with
                        | None -> ()
                        | Some move ->
                            let winner index = if index < 0 then None else Some index
                            Expect.equal (subject.Match before move.Request) (winner move.Before) "before"
                            Expect.equal (subject.Match after move.Request) (winner move.After) "after"

                            Expect.notEqual
                                (subject.Outcome before move.Request)
                                (subject.Outcome after move.Request)
                                "elsewhere"

                            match difference.Change with
                            | Added fresh -> Expect.equal move.After fresh "gains"
                            | Removed old -> Expect.equal move.Before old "loses"
                            | Changed(old, fresh) ->
                                Expect.isTrue (move.Before = old || move.After = fresh) "gains or loses"
                            | Reordered(old, fresh) -> Expect.equal (move.Before, move.After) (old, fresh) "winners")

            law
                "some request of the universe goes elsewhere exactly when a difference has a request"
                (pair subject.Route)
                50
                (fun both -> (moved (split both)).Length > 0)
                (fun both ->
                    let before, after = split both

                    Expect.equal
                        (diff before after |> List.exists _.Move.IsSome)
                        ((moved (before, after)).Length > 0)
                        "")

            law
                "a route that was added or removed has a request exactly when it gains or loses one of the universe"
                (pair subject.Route)
                50
                (fun both -> (moved (split both)).Length > 0)
                (fun both ->
                    let before, after = split both
                    let moved = moved (before, after)

                    for difference in diff before after do
                        match difference.Change with
                        | Added fresh ->
                            let gains =
                                moved |> Array.exists (fun request -> subject.Match after request = Some fresh)

                            Expect.equal difference.Move.IsSome gains "gains"
                        | Removed old ->
                            let loses =
                                moved |> Array.exists (fun request -> subject.Match before request = Some old)

                            Expect.equal difference.Move.IsSome loses "loses"
                        | Changed _
                        | Reordered _ -> ())

            law
                "a new order is a difference exactly when it moves a request"
                (reordered subject.Route)
                30
                (fun both -> (moved (split both)).Length > 0)
                (fun both ->
                    let before, after = split both
                    let differences = diff before after
                    Expect.equal (not differences.IsEmpty) ((moved (before, after)).Length > 0) ""

                    for difference in differences do
                        Expect.isTrue difference.Change.IsReordered "nothing was added or removed")

            law
                "without the listed routes, both tables have the same routes"
                (pair subject.Route)
                50
                (fun both -> not (diff <|| split both).IsEmpty)
                (fun both ->
                    let before, after = split both
                    let changes = diff before after |> List.map _.Change

                    let gone =
                        changes
                        |> List.choose (fun change ->
                            match change with
                            | Removed old
                            | Changed(old, _) -> Some old
                            | _ -> None)

                    let come =
                        changes
                        |> List.choose (fun change ->
                            match change with
                            | Added fresh
                            | Changed(_, fresh) -> Some fresh
                            | _ -> None)

                    let rest (routes: 'route array) (listed: int list) =
                        [
                            for at in 0 .. routes.Length - 1 do
                                if not (List.contains at listed) then
                                    subject.Semantics.Conditions routes[at],
                                    subject.Semantics.Outcome routes[at],
                                    subject.Semantics.Marks routes[at]
                        ]
                        |> List.sort

                    Expect.equal (rest before gone) (rest after come) ""
                    Expect.equal (List.distinct gone, List.distinct come) (gone, come) "each is reported once"

                    for change in changes do
                        match change with
                        | Reordered(old, fresh) ->
                            let isReported = List.contains old gone || List.contains fresh come
                            Expect.isFalse isReported "what was added, removed or changed is not reported as moved"
                        | _ -> ())
        ]

/// Backends of few names, each perhaps with TLS settings of few names.
let private pools =
    let tlsNames = [ "ca.one"; "ca.two" ]

    let parts =
        gen {
            let! names = Gen.subListOf [ "one"; "two"; "three" ]
            let! ports = Gen.listOfLength names.Length (Gen.choose (1, 2))
            let! settings = Gen.listOfLength names.Length (Gen.elements ("" :: tlsNames))

            let! servers =
                Gen.listOfLength tlsNames.Length (Gen.elements [ "a.example"; "b.example" ])

            return List.zip3 names ports settings, List.zip tlsNames servers
        }

    Gen.zip parts parts |> Arb.fromGen

let private poolOf (backends, tls) : BackendPool =
    let quoted (text: string) = "\"" + text + "\""

    let backend (name, port: int, settings) =
        let security =
            if settings = "" then
                ""
            else
                $", \"security\": {{ \"config_name\": {quoted settings} }}"

        $"{{ \"name\": {quoted name}, \"host\": {{ \"dns_name\": \"x.example\", \"port\": {port} }}{security} }}"

    let config (name, server) = $"{{ \"name\": {quoted name}, \"server_name\": {quoted server} }}"
    let list texts = String.concat ", " texts

    let json =
        $"{{ \"tls_server_configs\": [ {list (List.map config tls)} ], \"http\": {{ \"backends\": [ {list (List.map backend backends)} ] }} }}"

    match ConfigFile.loadBackendPool "pool.json" (System.ReadOnlyMemory(System.Text.Encoding.UTF8.GetBytes json)) with
    | Ok pool -> pool.Value
    | Error errors -> failtestf "%A" errors

let private backends =
    Law.test
        "a backend has changed exactly when it, or the TLS settings that it names, are not what they were"
        300
        [
            "added", 50
            "removed", 50
            "changed", 50
            "changed in its TLS settings only", 30
            "as it was", 30
        ]
        pools
        (fun seen ((before, tlsBefore), (after, tlsAfter)) ->
            let find name = List.tryFind (fun (other, _, _) -> other = name)
            let serverOf tls settings = tls |> List.tryFind (fun (name, _) -> name = settings) |> Option.map snd

            let expected =
                [
                    for name in [ "one"; "two"; "three" ] do
                        match find name before, find name after with
                        | Some(_, port, settings), Some(_, newPort, newSettings) ->
                            if (port, settings) <> (newPort, newSettings) then
                                seen.Count "changed"
                                BackendChanged name
                            elif serverOf tlsBefore settings <> serverOf tlsAfter newSettings then
                                seen.Count "changed in its TLS settings only"
                                BackendChanged name
                            else
                                seen.Count "as it was"
                        | Some _, None ->
                            seen.Count "removed"
                            BackendRemoved name
                        | None, Some _ ->
                            seen.Count "added"
                            BackendAdded name
                        | None, None -> ()
                ]

            let found =
                BackendDiff.backends Protocol.Http (poolOf (before, tlsBefore)) (poolOf (after, tlsAfter))

            Expect.equal (List.sort found) (List.sort expected) "what is reported")

[<Tests>]
let tests =
    testList
        "diff"
        [
            laws TableGenerators.http
            laws TableGenerators.conditions
            laws TableGenerators.grpc
            backends
        ]
