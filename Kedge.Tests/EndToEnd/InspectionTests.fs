/// `kedge check`, `kedge explain` and `kedge diff`, as people and pipelines run them.
module Kedge.Tests.EndToEnd.InspectionTests

open System
open System.Text.Json
open Expecto
open Kedge.Tests.Harness

let private run = KedgeProgram.RunToEnd

let private director file = $"--kedge_config_director_config_path={file}"
let private pool file = $"--kedge_config_backendpool_config_path={file}"

let private json (lines: string array) =
    use document = JsonDocument.Parse(String.Join('\n', lines))
    document.RootElement.Clone()

let private text (name: string) (element: JsonElement) =
    match element.GetProperty(name).GetString() with
    | null -> failtestf "%s is null in %O" name element
    | text -> text

let private items (name: string) (element: JsonElement) = List.ofSeq (element.GetProperty(name).EnumerateArray())

/// Ten thousand routes in which nothing is wrong, two for each host.
let private sound =
    [
        for i in 0..9_999 do
            let path = if i % 2 = 0 then "/api/*" else "/web/*"
            $$"""{"backend_name": "one", "host_matcher": "h{{i / 2}}.example", "path_rules": ["{{path}}"]}"""
    ]

/// Faults of HTTP routes: what is planted, and what must be said of it. Each stands far behind what hides it.
let private plantedRoutes =
    let route backend host paths =
        $$"""{"backend_name": "{{backend}}", "host_matcher": "{{host}}", "path_rules": [{{paths}}]}"""

    [
        for n in 1..3 do
            route $"on{n}" $"new{n}.example" "\"/\"", "dangling-backend"
            route "two" $"H{n}.example" "\"/api/*\"", "duplicate-route"
            route "two" $"h{100 + n}.example" "\"/web/deep/*\"", "shadowed-route"

        for n in 1..2 do
            route "two" $"h{200 + n}.example" "\"/api/v1\", \"/web/x/*\"", "unreachable-route"
    ]

let private plantedAt = 5_000

/// The planted routes come in a row in the middle; every entry has a line of its own.
let private faulty =
    let http = List.insertManyAt plantedAt (List.map fst plantedRoutes) sound
    let lines (entries: string list) = String.Join(",\n", entries)

    $$$"""{"http": {"routes": [
{{{lines http}}}
], "adhoc_rules": [
{"dns_name_matcher": "*.pod", "port": {"allowed": [80]}},
{"dns_name_matcher": "*d", "port": {"allowed": [81]}},
{"dns_name_matcher": "a.pod", "port": {"allowed": [80]}},
{"dns_name_matcher": "*.lan", "port": {"allowed": [80]}},
{"dns_name_matcher": "*n", "port": {"allowed": [81]}},
{"dns_name_matcher": "b.lan", "port": {"allowed": [80]}}
]}, "grpc": {"routes": [
{"backend_name": "two", "service_name_matcher": "p.*", "authority_port_matcher": 443},
{"backend_name": "one", "service_name_matcher": "p.q.*"},
{"backend_name": "two", "service_name_matcher": "r.*", "authority_port_matcher": 443},
{"backend_name": "one", "service_name_matcher": "r.s.*"}
]}}"""

let private faultyPool =
    Json.pool
        [ for name in [ "one"; "two"; "idle1"; "idle2" ] -> Json.backend name 80 ]
        [ for name in [ "one"; "two"; "idle3" ] -> Json.backend name 80 ]

/// Kind and path of every fault in there.
let private planted =
    [
        for at, (_, kind) in List.indexed plantedRoutes do
            yield kind, $"$.http.routes[{plantedAt + at}]"
        yield "hidden-adhoc-port", "$.http.adhoc_rules[1]"
        yield "hidden-adhoc-rule", "$.http.adhoc_rules[2]"
        yield "hidden-adhoc-port", "$.http.adhoc_rules[4]"
        yield "hidden-adhoc-rule", "$.http.adhoc_rules[5]"
        yield "overlapping-grpc-prefixes", "$.grpc.routes[1]"
        yield "overlapping-grpc-prefixes", "$.grpc.routes[3]"
        yield "unused-backend", "$.http.backends[2]"
        yield "unused-backend", "$.http.backends[3]"
        yield "unused-backend", "$.grpc.backends[2]"
    ]

/// The lines that `kedge` prints, called as people would call it in a shell.
let private shell (line: string) =
    task {
        let! outcome = Shell.run $"kedge {line}"
        Expect.equal outcome.Code 0 line
        return outcome.Output.Split '\n'
    }

[<Tests>]
let check =
    testList
        "check"
        [
            case
                "20 faults of 8 kinds among 10,000 routes: each is found, nothing else, and witnesses prove them"
                (fun () ->
                    task {
                        Expect.equal (planted.Length, (List.distinctBy fst planted).Length) (20, 8) "as many as said"
                        use scratch = new Scratch()
                        let directorFile = scratch.Write("director.json", faulty)
                        let poolFile = scratch.Write("pool.json", faultyPool)

                        let! code, out, errors =
                            run [ "check"; "--output=json"; director directorFile; pool poolFile ]

                        Expect.equal (code, errors) (1, [||]) "a route to no backend is an error"
                        let report = json out
                        let findings = items "findings" report

                        Expect.equal
                            (findings |> List.map (fun f -> text "kind" f, text "path" f) |> List.sort)
                            (List.sort planted)
                            "all that is planted and nothing else"

                        Expect.equal (report.GetProperty("errors").GetInt32()) 3 "errors"
                        Expect.equal (report.GetProperty("warnings").GetInt32()) 15 "warnings; overlaps are notes"

                        for finding in findings do
                            let kind = text "kind" finding
                            let line = finding.GetProperty("line").GetInt32()
                            let path = text "path" finding

                            if kind = "unused-backend" then
                                Expect.equal (text "file" finding) poolFile kind
                                Expect.isGreaterThan line 0 kind
                            else
                                Expect.equal (text "file" finding) directorFile kind
                                Expect.isNonEmpty (items "witnesses" finding) kind

                            if path.StartsWith "$.http.routes" then
                                let index = int (path.Substring(14).TrimEnd ']')
                                Expect.equal line (index + 2) "one route on a line, behind the first"

                        // One witness of each kind, as a person would try it.
                        for finding in List.distinctBy (text "kind") findings do
                            match items "witnesses" finding with
                            | [] -> ()
                            | witness :: _ ->
                                let! out = shell $"explain {witness} --output=json {director directorFile}"
                                let explanation = json out
                                let path = text "path" finding

                                let decider =
                                    match explanation.GetProperty("winner") with
                                    | winner when winner.ValueKind = JsonValueKind.Null ->
                                        text "path" (explanation.GetProperty("adhoc").GetProperty("rule"))
                                    | winner -> text "path" winner

                                if text "kind" finding = "dangling-backend" then
                                    Expect.equal decider path "goes there"
                                else
                                    Expect.notEqual decider path $"{witness} is taken by another rule"
                    })

            case "text: file, line, rule, request and a summary, without colours for a pipe" (fun () ->
                task {
                    let! code, out, errors =
                        run
                            [
                                "check"
                                "--strict"
                                "--kedge_config_director_config="
                                + Json.director
                                    [ Json.httpRoute "alpha" "a.example"; Json.httpRoute "beta" "a.example" ]
                                    []
                                "--kedge_config_backendpool_config="
                                + Json.pool [ Json.backend "alpha" 80; Json.backend "beta" 81 ] []
                            ]

                    Expect.equal (code, errors) (2, [||]) "only warnings, with --strict"
                    let all = String.Join('\n', out)
                    Expect.stringContains out[0] "$.http.routes[1]: warning duplicate-route:" "the finding"
                    Expect.stringContains out[0] "host=a.example" "the rule that takes its requests"
                    Expect.equal out[1] "    GET https://a.example/x" "the witness"
                    Expect.stringContains all "0 errors, 1 warning" "summary"
                    Expect.isFalse (all.Contains '\u001b') "no colour"
                })

            case "a missing file is an error, also in JSON" (fun () ->
                task {
                    let! code, out, _ =
                        run [ "check"; "--output"; "json"; director "/nowhere/director.json" ]

                    Expect.equal code 1 "exit code"
                    let finding = List.exactlyOne (items "findings" (json out))
                    Expect.equal (text "kind" finding) "unreadable-file" "kind"
                    Expect.stringContains (text "message" finding) "/nowhere/director.json" "names it"
                })

            case "an error in a file has its place in JSON too" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", "{\n  \"htp\": {}\n}")
                    let! code, out, _ = run [ "check"; "--output=json"; director file ]
                    Expect.equal code 1 "exit code"
                    let finding = List.exactlyOne (items "findings" (json out))

                    Expect.equal
                        (text "kind" finding, text "file" finding, finding.GetProperty("line").GetInt32())
                        ("invalid-configuration", file, 2)
                        "place"
                })

            case "--require_authorization: a route that anyone may use is an error" (fun () ->
                task {
                    use scratch = new Scratch()

                    let file =
                        scratch.Write(
                            "director.json",
                            """{"http": {"routes": [
  {"backend_name": "aa", "host_matcher": "open.example"},
  {"backend_name": "aa", "host_matcher": "perm.example", "authorization": {"any_perms": ["x"]}}
]}}"""
                        )

                    let check more =
                        task {
                            let! code, out, errors =
                                run (
                                    [
                                        "check"
                                        "--require-authorization"
                                        director file
                                        "--kedge_config_backendpool_config=" + Json.pool [ Json.backend "aa" 80 ] []
                                    ]
                                    @ more
                                )

                            Expect.isEmpty errors "nothing on standard error"
                            return code, String.Join('\n', out)
                        }

                    let! code, out = check []
                    Expect.equal code 1 "anyone may use open.example"
                    Expect.stringContains out $"{file}:2: $.http.routes[0]: error open-route" "which"
                    Expect.stringContains out "GET https://open.example/x" "how"
                    Expect.isFalse (out.Contains "routes[1]") "a permission is demanded there"
                    let! code, out = check [ "--unsafe_bearer_token_proxy_auth=secret" ]
                    Expect.equal code 0 out
                    Expect.isFalse (out.Contains "secret") "no secret is printed"
                    let! code, out = check [ "--server_tls_client_ca_files=ca.crt" ]
                    Expect.equal code 0 out

                    let authority =
                        [
                            "--server_tls_client_ca_files=ca.crt"
                            "--server_tls_client_cert_required=false"
                        ]

                    let! code, out = check authority
                    Expect.equal code 1 $"a certificate is only asked for: {out}"
                })
        ]

let private twoHosts =
    """{ "http": { "routes": [
  { "backend_name": "canary", "host_matcher": "a.example", "header_matcher": { "x-env": "canary" } },
  { "backend_name": "stable", "host_matcher": "a.example" }
], "adhoc_rules": [ { "dns_name_matcher": "*.pod", "port": { "allowed": [9090] } } ] },
"grpc": { "routes": [ { "backend_name": "orders", "service_name_matcher": "shop.*" } ] } }"""

[<Tests>]
let explain =
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
  authorization: as the server's flags demand"
                        "text"
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
let diff =
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
