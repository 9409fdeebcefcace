/// `explain`, `check` and `diff` of routes with mirrors.
module Kedge.Tests.EndToEnd.MirrorCommandTests

open Expecto
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private mirrored (mirror: string) =
    $$"""{ "http": { "routes": [ { "name": "shop", "host_matcher": "a.example", "backend_name": "shop",
                                   "mirror": [ { {{mirror}} } ] } ] } }"""

[<Tests>]
let tests =
    testList
        "commands on mirrors"
        [
            case "explain says what is copied, and why not" (fun () ->
                task {
                    use scratch = new Scratch()

                    let explain (method: string) (mirror: string) (more: string list) =
                        task {
                            let path = scratch.Write("director.json", mirrored mirror)

                            let! _, output, _ =
                                run (
                                    [ "explain"; method; "https://a.example/"; InspectionStage.director path ]
                                    @ more
                                )

                            return
                                output
                                |> Array.map _.Trim()
                                |> Array.filter (fun line -> line.StartsWith "mirror: ")
                                |> String.concat "|"
                        }

                    let shadow = """ "backend_name": "shop_shadow" """
                    let! all = explain "GET" shadow []
                    Expect.equal all "mirror: a copy to shop_shadow; without credentials, a body to 64KiB" "all"

                    let! drawn =
                        explain "GET" (shadow + """, "percent": 10, "max_body": "1MiB", "with_credentials": true""") []

                    Expect.equal
                        drawn
                        "mirror: a copy of 10 % to shop_shadow: a draw for each request; with credentials, a body to 1MiB"
                        "a draw"

                    let! post = explain "POST" shadow []
                    Expect.stringContains post "no copy to shop_shadow: POST is not a safe method" "POST"
                    let! post = explain "POST" (shadow + """, "unsafe_methods": true""") []
                    Expect.stringContains post "mirror: a copy to shop_shadow" "POST"
                    let pool = scratch.Write("pool.json", Json.pool [ Json.backend "shop" 80 ] [])
                    let! missing = explain "GET" shadow [ InspectionStage.pool pool ]

                    Expect.stringContains
                        missing
                        "no copy to shop_shadow, which is not in the backend pool"
                        "no backend"
                })

            case "check: a mirror of itself, a missing one, and one that gets nothing" (fun () ->
                task {
                    use scratch = new Scratch()
                    let pool = scratch.Write("pool.json", Json.pool [ Json.backend "shop" 80 ] [])

                    for mirror, expected in
                        [
                            """ "backend_name": "shop" """,
                            [ "mirror-of-itself", "$.http.routes[0].mirror[0].backend_name" ]
                            """ "backend_name": "shop_shadow", "percent": 0 """,
                            [
                                "dangling-backend", "$.http.routes[0].mirror[0]"
                                "weight-zero", "$.http.routes[0].mirror[0].percent"
                            ]
                        ] do
                        let path = scratch.Write("director.json", mirrored mirror)

                        let! code, output, _ =
                            run
                                [
                                    "check"
                                    "--output=json"
                                    InspectionStage.director path
                                    InspectionStage.pool pool
                                ]

                        Expect.equal code 1 "an error"

                        Expect.equal
                            (items "findings" (json output)
                             |> List.map (fun finding -> text "kind" finding, text "path" finding))
                            expected
                            mirror
                })

            case "diff: a change of a mirror is a change of the route" (fun () ->
                task {
                    use scratch = new Scratch()
                    let mirror percent = mirrored $""" "backend_name": "shop_shadow", "percent": {percent} """
                    let before = scratch.Write("before.json", mirror 10)
                    let after = scratch.Write("after.json", mirror 20)
                    let! _, output, _ = run [ "diff"; "--output=json"; before; after ]
                    let change = items "differences" (json output) |> List.exactlyOne
                    Expect.equal (text "kind" change) "route-changed" "kind"
                    Expect.stringContains (text "request_before" change) "mirror shop_shadow 10 %" "before"
                    Expect.stringContains (text "request_after" change) "mirror shop_shadow 20 %" "after"
                })
        ]
