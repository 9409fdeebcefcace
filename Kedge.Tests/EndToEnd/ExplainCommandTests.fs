module Kedge.Tests.EndToEnd.ExplainCommandTests

open System
open System.Text.Json
open Expecto
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.Harness

[<Tests>]
let tests =
    let explain (arguments: string list) =
        task {
            use scratch = new Scratch()
            let file = scratch.Write("director.json", twoHosts)
            let! code, out, errors = run ([ "explain" ] @ arguments @ [ director file ])
            return code, String.Join('\n', out).Replace(file, "director.json"), String.Join('\n', errors)
        }

    testList
        "explain"
        [
            case "names file, line and rule of each rule, and why it does not match" (fun () ->
                task {
                    let! code, out, errors = explain [ "GET"; "https://a.example/x" ]
                    Expect.equal (code, errors) (0, "") "exit code"

                    Expect.equal
                        out
                        "GET https://a.example/x
  director.json:2: $.http.routes[0] (host=a.example header:x-env=canary): no, header x-env is absent, not canary
  director.json:3: $.http.routes[1] (host=a.example): yes
  backend: stable
  authorization: as the server's flags require"
                        "text"
                })

            case "the request is shown with the scheme that was given" (fun () ->
                task {
                    for url in [ "http://a.example/x"; "https://a.example/x"; "http://a.example:8081/x" ] do
                        let! _, out, _ = explain [ "GET"; url ]
                        Expect.stringStarts out $"GET {url}\n" "text"
                        let! _, out, _ = explain [ "GET"; url; "--output=json" ]
                        Expect.stringContains out $"GET {url}" "JSON"
                })

            case "headers, once or several times, with commas and equals signs in them" (fun () ->
                task {
                    let! code, out, _ =
                        explain
                            [
                                "-H"
                                "x-other: a, b=c"
                                "GET"
                                "https://a.example/x"
                                "--header=x-env: canary"
                            ]

                    Expect.equal code 0 out
                    Expect.stringContains out "routes[0] (host=a.example header:x-env=canary): yes" "the canary"
                    Expect.stringContains out "-H 'x-other: a, b=c'" "whole"
                })

            case "gRPC by the switch and by content type; forward-proxy requests; no route" (fun () ->
                task {
                    let! _, out, _ = explain [ "POST"; "https://g.example/shop.Cart/Add"; "--grpc" ]
                    Expect.stringContains out "$.grpc.routes[0] (service=shop.*): yes" "by the switch"

                    let! _, out, _ =
                        explain
                            [
                                "POST"
                                "https://g.example/shop.Cart/Add"
                                "-H"
                                "content-type: application/grpc"
                            ]

                    Expect.stringContains out "$.grpc.routes[0] (service=shop.*): yes" "by content type"
                    let! _, out, _ = explain [ "GET"; "http://x.pod/"; "--forward" ]
                    Expect.stringContains out "port 80 is not allowed" "the port of the scheme"
                    let! code, out, _ = explain [ "GET"; "https://nowhere.example/" ]
                    Expect.equal code 0 "an answer too"
                    Expect.stringContains out "no-route" "the answer"
                })

            case "JSON: what was passed and why, and the winner" (fun () ->
                task {
                    let! code, out, _ = explain [ "GET"; "https://a.example/x"; "--output=json" ]
                    Expect.equal code 0 out
                    let report = json [| out |]
                    let passed = List.exactlyOne (items "passed" report)
                    Expect.equal (text "path" (passed.GetProperty "rule")) "$.http.routes[0]" "passed"
                    Expect.equal (text "backend" report) "stable" "backend"
                    let winner = report.GetProperty "winner"

                    Expect.equal
                        (text "file" winner, winner.GetProperty("line").GetInt32())
                        ("director.json", 3)
                        "place"

                    Expect.equal (text "rule" winner) "host=a.example" "rule"
                    Expect.equal (report.GetProperty("adhoc").ValueKind) JsonValueKind.Null "no ad-hoc decision"
                })

            case "what is no request is one clear line and exit code 2" (fun () ->
                task {
                    for arguments, part in
                        [
                            [ "GET" ], "<URL>"
                            [ "GET"; "a.example" ], "a.example"
                            [ "GET"; "https://a.example/"; "-H"; "no colon" ], "no colon"
                            [ "GET"; "https://a.example/"; "more" ], "more"
                            [ "GET"; "https://a.example/"; "-H" ], "--header"
                        ] do
                        let! code, out, errors = explain arguments
                        Expect.equal (code, out) (2, "") errors
                        Expect.stringContains errors part "names it"
                        Expect.isFalse (errors.Contains '\n') "one line"
                })
        ]

[<Tests>]
let help =
    testList
        "help of the questions"
        [
            for command in [ "check"; "explain"; "diff" ] do
                case $"{command} --help has examples and exit codes" (fun () ->
                    task {
                        let! code, out, errors = run [ command; "--help" ]
                        Expect.equal (code, errors) (0, [||]) "exit code"
                        let help = String.Join('\n', out)
                        Expect.stringContains help $"Usage: kedge {command}" "usage"
                        Expect.stringContains help "Examples\n  kedge " "examples"
                        Expect.stringContains help "xits with 0" "exit codes"
                        let! _, overview, _ = run [ "--help" ]
                        Expect.exists overview (fun line -> line.StartsWith $"  {command} ") "in the overview"
                    })
        ]
