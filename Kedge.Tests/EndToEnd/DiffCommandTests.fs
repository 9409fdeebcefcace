module Kedge.Tests.EndToEnd.DiffCommandTests

open System
open System.Text.Json
open Expecto
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.Harness

[<Tests>]
let tests =
    testList
        "diff"
        [
            case "tells what moves, with a request; the exit code says so on demand" (fun () ->
                task {
                    use scratch = new Scratch()
                    let before = scratch.Write("old.json", twoHosts)
                    let after = scratch.Write("new.json", twoHosts.Replace("stable", "steady"))
                    let! code, out, errors = run [ "diff"; before; after ]
                    Expect.equal (code, errors) (0, [||]) "exit code"

                    Expect.equal
                        (String.Join('\n', out).Replace(scratch.Path + "/", ""))
                        "route-changed
  - old.json:3: $.http.routes[1] host=a.example -> stable
  + new.json:3: $.http.routes[1] host=a.example -> steady
    GET https://a.example/x
      went to old.json:3: $.http.routes[1] host=a.example -> stable
      goes to new.json:3: $.http.routes[1] host=a.example -> steady
1 difference, 1 with requests that go elsewhere"
                        "text"

                    let! code, out, _ = run [ "diff"; "--exit_code"; "--output=json"; before; after ]
                    Expect.equal code 1 "there is a difference"
                    let difference = List.exactlyOne (items "differences" (json out))
                    Expect.equal (text "kind" difference) "route-changed" "kind"
                    Expect.equal (text "request" difference) "GET https://a.example/x" "request"
                    let! code, out, _ = run [ "diff"; "--exit_code"; before; before ]
                    Expect.equal (code, out) (0, [| "no difference" |]) "none from itself"
                })

            case "a new order that moves nothing is no difference" (fun () ->
                task {
                    use scratch = new Scratch()
                    let routes = [ Json.httpRoute "aa" "a.example"; Json.httpRoute "bb" "b.example" ]
                    let before = scratch.Write("old.json", Json.director routes [])
                    let after = scratch.Write("new.json", Json.director (List.rev routes) [])
                    let! code, out, _ = run [ "diff"; before; after; "--exit_code" ]
                    Expect.equal (code, out) (0, [| "no difference" |]) ""
                })

            case "backends are compared when both pools are given" (fun () ->
                task {
                    use scratch = new Scratch()

                    let file =
                        scratch.Write("director.json", Json.director [ Json.httpRoute "aa" "a.example" ] [])

                    let before = scratch.Write("old-pool.json", Json.pool [ Json.backend "aa" 80 ] [])
                    let after = scratch.Write("new-pool.json", Json.pool [ Json.backend "aa" 81 ] [])

                    let! code, out, _ =
                        run [ "diff"; file; file; $"--old_backendpool_config_path={before}"; pool after ]

                    Expect.equal code 0 "exit code"
                    Expect.contains out "backend-changed" "the backend"
                })

            case "a file with errors is refused with exit code 2" (fun () ->
                task {
                    use scratch = new Scratch()
                    let good = scratch.Write("old.json", twoHosts)
                    let bad = scratch.Write("new.json", """{ "htp": {} }""")
                    let! code, out, errors = run [ "diff"; good; bad ]
                    Expect.equal (code, out) (2, [||]) "exit code"
                    Expect.stringContains (String.Join('\n', errors)) $"{bad}:1:" "its place"
                })
        ]
