/// `explain`, `check` and `diff` of routes with several backends.
module Kedge.Tests.EndToEnd.SplitCommandTests

open Expecto
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private inFile (route: string) = $$"""{ "http": { "routes": [ {{route}} ] } }"""

let private shop (weight: int) =
    inFile
        $$"""{ "name": "shop", "host_matcher": "a.example", "split_by": { "cookie": "session" },
               "backends": [ { "name": "shop", "weight": {{100 - weight}} }, { "name": "shop_next", "weight": {{weight}} } ] }"""

[<Tests>]
let tests =
    testList
        "commands on splits"
        [
            case "explain: the distribution, and whose the request is" (fun () ->
                task {
                    use scratch = new Scratch()
                    let path = scratch.Write("director.json", shop 5)
                    let url = "https://a.example/"

                    let! _, output, _ =
                        run
                            [
                                "explain"
                                "GET"
                                url
                                "-H"
                                "cookie: session=abc"
                                InspectionStage.director path
                            ]

                    let lines = output |> Array.map _.Trim()
                    Expect.contains lines "split: 95 of 100 to shop" "the distribution"
                    Expect.contains lines "split: 5 of 100 to shop_next" "the distribution"

                    Expect.exists
                        lines
                        (fun line -> line.StartsWith "choice: session=abc -> shop" && line.EndsWith " of 100")
                        "the backend of this session"

                    let! _, output, _ = run [ "explain"; "GET"; url; InspectionStage.director path ]

                    Expect.exists
                        output
                        (fun line -> line.Contains "choice: a draw, since the request has no cookie session")
                        "no key"
                })

            case "explain and diff show the headers of single backends" (fun () ->
                task {
                    use scratch = new Scratch()
                    let before = scratch.Write("before.json", inFile (SplitTests.withHeaders "yes"))
                    let after = scratch.Write("after.json", inFile (SplitTests.withHeaders "no"))

                    let! _, output, _ =
                        run
                            [
                                "explain"
                                "GET"
                                "https://headers.example/"
                                InspectionStage.director before
                            ]

                    let lines = output |> Array.map _.Trim()
                    Expect.contains lines "headers for stable: request: x-version: 1" "of the one"

                    Expect.contains
                        lines
                        "headers for next: request: without x-debug, also x-version: 2; response: x-canary: yes"
                        "of the other"

                    let! _, output, _ = run [ "diff"; "--output=json"; before; after ]
                    let change = items "differences" (json output) |> List.exactlyOne
                    Expect.equal (text "kind" change) "route-changed" "kind"
                    Expect.stringContains (text "request_before" change) "response: x-canary: yes" "before"
                    Expect.stringContains (text "request_after" change) "response: x-canary: no" "after"
                })

            case "check: every missing backend has its place; a weight of 0 is a note" (fun () ->
                task {
                    use scratch = new Scratch()
                    let path = scratch.Write("director.json", shop 0)

                    let pool' = scratch.Write("pool.json", Json.pool [ Json.backend "shop" 80 ] [])

                    let! code, output, _ =
                        run
                            [
                                "check"
                                "--output=json"
                                InspectionStage.director path
                                InspectionStage.pool pool'
                            ]

                    Expect.equal code 1 "an error"

                    Expect.equal
                        (items "findings" (json output)
                         |> List.map (fun finding -> text "kind" finding, text "path" finding))
                        [
                            "dangling-backend", "$.http.routes[0].backends[1]"
                            "weight-zero", "$.http.routes[0].backends[1].weight"
                        ]
                        "findings"
                })

            case "check: contradictions are located errors" (fun () ->
                task {
                    use scratch = new Scratch()

                    for route, place, part in
                        [
                            """{ "backend_name": "shop", "backends": [ { "name": "shop" } ] }""",
                            "$.http.routes[0]",
                            "exactly one of backend_name, backends, redirect, respond"
                            """{ "backends": [ { "name": "shop", "weight": 0 } ] }""",
                            "$.http.routes[0].backends",
                            "a weight that is not 0"
                            """{ "backends": [ { "name": "shop" }, { "name": "shop" } ] }""",
                            "$.http.routes[0].backends[1].name",
                            "the name is taken"
                            """{ "backends": [ { "name": "shop", "weight": 1000001 } ] }""",
                            "$.http.routes[0].backends[0].weight",
                            "0 to 1000000"
                            """{ "backend_name": "shop", "split_by": { "cookie": "s" } }""",
                            "$.http.routes[0].split_by",
                            "must be omitted"
                            """{ "backends": [ { "name": "shop" } ], "split_by": { "cookie": "s", "header": "x" } }""",
                            "$.http.routes[0].split_by",
                            "exactly one of"
                            """{ "backends": [ { "name": "shop" } ], "split_by": { "cookie": "a b" } }""",
                            "$.http.routes[0].split_by.cookie",
                            "a cookie name"
                            """{ "backends": [ { "name": "shop", "wieght": 2 } ] }""",
                            "$.http.routes[0].backends[0].wieght",
                            "did you mean weight?"
                        ] do
                        let path = scratch.Write("director.json", inFile route)

                        let! code, output, _ =
                            run [ "check"; "--output=json"; InspectionStage.director path ]

                        Expect.equal code 1 route
                        let errors = items "findings" (json output)
                        Expect.exists errors (fun e -> text "path" e = place) $"{route}: {errors}"
                        Expect.exists errors (fun e -> (text "message" e).Contains part) $"{route}: {errors}"
                })

            case "diff: what a change of weights moves, with a caller whom it moves" (fun () ->
                task {
                    use scratch = new Scratch()
                    let before = scratch.Write("before.json", shop 5)
                    let after = scratch.Write("after.json", shop 50)
                    let! _, output, _ = run [ "diff"; "--output=json"; before; after ]
                    let change = items "differences" (json output) |> List.exactlyOne
                    Expect.equal (text "kind" change) "weights-changed" "kind"
                    Expect.stringEnds (text "after" change) "9/20 (45 %) of the callers move" "the share"

                    Expect.equal
                        (text "request_before" change, text "request_after" change)
                        ("shop", "shop_next")
                        "moves"

                    let witness = text "request" change
                    Expect.stringContains witness "cookie: session=" "the witness has the key"

                    // The witness is one: explain says so of both files.
                    for file, backend in [ before, "shop,"; after, "shop_next," ] do
                        let key = witness.Substring(witness.IndexOf "cookie: ").TrimEnd '\''

                        let! _, output, _ =
                            run
                                [
                                    "explain"
                                    "GET"
                                    "https://a.example/"
                                    "-H"
                                    key
                                    InspectionStage.director file
                                ]

                        Expect.exists output (fun line -> line.Contains $"-> {backend}") $"{file}: {backend}"

                    let! _, output, _ = run [ "diff"; "--output=json"; before; before ]
                    Expect.isEmpty (items "differences" (json output)) "no change"

                    // Another name draws anew.
                    let renamed =
                        scratch.Write(
                            "renamed.json",
                            (shop 5).Replace("\"name\": \"shop\", \"host", "\"name\": \"shop-2\", \"host")
                        )

                    let! _, output, _ = run [ "diff"; "--output=json"; before; renamed ]
                    let changes = items "differences" (json output)
                    Expect.equal (changes |> List.map (text "kind")) [ "route-changed"; "weights-changed" ] "kinds"
                    Expect.stringContains (text "after" changes[1]) "the route has another name" "why"
                    Expect.stringContains (text "after" changes[1]) "19/200 (9.5 %)" "the share"
                    Expect.stringContains (text "request" changes[1]) "cookie: session=" "a caller that moves"

                    // The first step of a canary.
                    let single =
                        scratch.Write(
                            "single.json",
                            inFile """{ "name": "shop", "host_matcher": "a.example", "backend_name": "shop" }"""
                        )

                    let! _, output, _ = run [ "diff"; "--output=json"; single; before ]
                    let changes = items "differences" (json output)
                    Expect.equal (changes |> List.map (text "kind")) [ "route-changed"; "weights-changed" ] "kinds"
                    Expect.stringContains (text "after" changes[1]) "1/20 (5 %) of the callers move" "the share"
                })
        ]
