module Kedge.Tests.EndToEnd.CheckCommandTests

open System
open System.Text.Json
open Expecto
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.Harness

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
let tests =
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
