module Kedge.Tests.EndToEnd.CheckCommandTests

open System
open System.Text.Json
open Expecto
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.Harness

/// A configuration with faults planted in it: each with the kind and path of the finding that must report it.
type private Faulty =
    {
        Director: string
        Pool: string
        Planted: (string * string) list
        Errors: int
        Warnings: int
    }

let private route (backend: string) (host: string) (more: string) =
    $$"""{"backend_name": "{{backend}}", "host_matcher": "{{host}}"{{more}}}"""

let private onPaths (paths: string list) =
    let paths = paths |> List.map (sprintf "\"%s\"") |> String.concat ", "
    $", \"path_rules\": [{paths}]"

let private withMethods (methods: string list) =
    let methods = methods |> List.map (sprintf "\"%s\"") |> String.concat ", "
    $", \"methods\": [{methods}]"

let private withQuery (version: int) = $", \"query_matcher\": {{\"v\": \"{version}\"}}"

/// A director file with each entry on a line of its own, the first HTTP route on the second.
let private file (http: string list) (adhoc: string list) (grpc: string list) =
    let lines (entries: string list) = String.Join(",\n", entries)

    $$$"""{"http": {"routes": [
{{{lines http}}}
], "adhoc_rules": [
{{{lines adhoc}}}
]}, "grpc": {"routes": [
{{{lines grpc}}}
]}}"""

/// The findings about planted routes, of which the first is at this index.
let private at (start: int) (planted: (string * string) list) =
    [
        for index, (_, kind) in List.indexed planted do
            kind, $"$.http.routes[{start + index}]"
    ]

/// Two routes for each of 5,000 hosts.
let private plain =
    let sound =
        [
            for i in 0..9_999 do
                route "one" $"h{i / 2}.example" (onPaths [ (if i % 2 = 0 then "/api/**" else "/web/**") ])
        ]

    // In a row in the middle.
    let start = 5_000

    let planted =
        [
            for n in 1..3 do
                route $"on{n}" $"new{n}.example" (onPaths [ "/" ]), "dangling-backend"
                route "two" $"H{n}.example" (onPaths [ "/api/**" ]), "duplicate-route"
                route "two" $"h{100 + n}.example" (onPaths [ "/web/deep/*" ]), "shadowed-route"

            for n in 1..2 do
                route "two" $"h{200 + n}.example" (onPaths [ "/api/v1"; "/web/x/*" ]), "unreachable-route"
        ]

    {
        Director =
            file
                (List.insertManyAt start (List.map fst planted) sound)
                [
                    """{"dns_name_matcher": "*.pod", "port": {"allowed": [80]}}"""
                    """{"dns_name_matcher": "*d", "port": {"allowed": [81]}}"""
                    """{"dns_name_matcher": "a.pod", "port": {"allowed": [80]}}"""
                    """{"dns_name_matcher": "*.lan", "port": {"allowed": [80]}}"""
                    """{"dns_name_matcher": "*n", "port": {"allowed": [81]}}"""
                    """{"dns_name_matcher": "b.lan", "port": {"allowed": [80]}}"""
                ]
                [
                    """{"backend_name": "two", "service_name_matcher": "p.*", "authority_port_matcher": 443}"""
                    """{"backend_name": "one", "service_name_matcher": "p.q.*"}"""
                    """{"backend_name": "two", "service_name_matcher": "r.*", "authority_port_matcher": 443}"""
                    """{"backend_name": "one", "service_name_matcher": "r.s.*"}"""
                ]
        Pool =
            Json.pool
                [ for name in [ "one"; "two"; "idle1"; "idle2" ] -> Json.backend name 80 ]
                [ for name in [ "one"; "two"; "idle3" ] -> Json.backend name 80 ]
        Planted =
            [
                yield! at start planted
                "hidden-adhoc-port", "$.http.adhoc_rules[1]"
                "hidden-adhoc-rule", "$.http.adhoc_rules[2]"
                "hidden-adhoc-port", "$.http.adhoc_rules[4]"
                "hidden-adhoc-rule", "$.http.adhoc_rules[5]"
                "overlapping-grpc-prefixes", "$.grpc.routes[1]"
                "overlapping-grpc-prefixes", "$.grpc.routes[3]"
                "unused-backend", "$.http.backends[2]"
                "unused-backend", "$.http.backends[3]"
                "unused-backend", "$.grpc.backends[2]"
            ]
        Errors = 3
        // Overlaps are notes.
        Warnings = 15
    }

/// 1,000 wildcard hosts before and after exact ones, and routes that differ in methods and queries.
let private conditional =
    let sound =
        [
            // Exact hosts, whose wildcards come after them.
            for i in 0..999 do
                route "two" $"www.w{i}.example" (onPaths [ "/**" ])

            for i in 0..999 do
                route "one" $"*.w{i}.example" (onPaths [ "/api/**" ])

            for i in 0..1_999 do
                route "one" $"m{i}.example" (withMethods [ "GET"; "HEAD" ])
                route "two" $"m{i}.example" (withMethods [ "POST" ])

            for i in 0..1_332 do
                route "one" $"q{i}.example" (withQuery 1)
                route "two" $"q{i}.example" (withQuery 2)
                route "one" $"q{i}.example" ""

            route "two" "last.example" ""
        ]

    // Behind what hides them.
    let start = 9_999

    let planted =
        [
            for n in 1..3 do
                // What the wildcard takes already, for one host and for a narrower wildcard.
                route "two" $"a.w{n}.example" (onPaths [ "/api/x" ]), "shadowed-route"
                route "two" $"*.b.w{n}.example" (onPaths [ "/api/**" ]), "shadowed-route"
                route "two" $"m{n}.example" (withMethods [ "HEAD"; "GET" ]), "duplicate-route"
                // The two before it take all methods together, but neither of them alone.
                route "one" $"m{100 + n}.example" (withMethods [ "GET"; "POST" ]), "unreachable-route"
                // The wildcard comes first, for some of the paths.
                route "two" $"c.w{n}.example" "", "wildcard-before-host"

            route "two" "q7.example" (withQuery 2 + onPaths [ "/x" ]), "shadowed-route"
            route "one" "gone.example" (withMethods [ "GET" ] + withQuery 1 + onPaths [ "/x" ]), "sound"
            route "two" "gone.example" (withMethods [ "GET"; "PUT" ] + withQuery 1 + onPaths [ "/x" ]), "sound"
        ]

    let roots =
        [
            for n in 1..4 do
                route "one" $"r{n}.example" (onPaths [ "/status"; "/api/*" ])
        ]

    {
        Director =
            file
                (List.insertManyAt start (List.map fst planted @ roots) sound)
                []
                [ """{"backend_name": "one", "service_name_matcher": "p.*"}""" ]
        Pool = Json.pool [ for name in [ "one"; "two" ] -> Json.backend name 80 ] [ Json.backend "one" 80 ]
        Planted =
            [
                yield! at start planted |> List.filter (fun (kind, _) -> kind <> "sound")

                for n in 0..3 do
                    "prefix-misses-root", $"$.http.routes[{start + planted.Length + n}].path_rules[1]"
            ]
        Errors = 0
        // Wildcards that come first and roots that are missed are notes.
        Warnings = 13
    }

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
            for name, kinds, faulty in
                [
                    "hosts and paths", 8, plain
                    "wildcards, methods and queries", 5, conditional
                ] do
                case
                    $"20 faults of {kinds} kinds among 10,000 routes with {name}: each is found, nothing else"
                    (fun () ->
                        task {
                            let found = faulty.Planted |> List.map fst |> List.distinct
                            Expect.equal (faulty.Planted.Length, found.Length) (20, kinds) "as many as said"
                            use scratch = new Scratch()
                            let directorFile = scratch.Write("director.json", faulty.Director)
                            let poolFile = scratch.Write("pool.json", faulty.Pool)

                            let! code, out, errors =
                                run [ "check"; "--output=json"; director directorFile; pool poolFile ]

                            Expect.equal (code, errors) ((if faulty.Errors > 0 then 1 else 0), [||]) "exit code"
                            let report = json out
                            let findings = items "findings" report

                            Expect.equal
                                (findings |> List.map (fun f -> text "kind" f, text "path" f) |> List.sort)
                                (List.sort faulty.Planted)
                                "all that is planted and nothing else"

                            Expect.equal (report.GetProperty("errors").GetInt32()) faulty.Errors "errors"
                            Expect.equal (report.GetProperty("warnings").GetInt32()) faulty.Warnings "warnings"

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
                                    let index = int (path.Substring(14, path.IndexOf ']' - 14))
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
                                        match explanation.GetProperty("winner"), explanation.GetProperty("adhoc") with
                                        | winner, _ when winner.ValueKind <> JsonValueKind.Null -> text "path" winner
                                        | _, adhoc when adhoc.ValueKind = JsonValueKind.Null -> "none"
                                        | _, adhoc ->
                                            match adhoc.GetProperty "rule" with
                                            | rule when rule.ValueKind = JsonValueKind.Null -> "none"
                                            | rule -> text "path" rule

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

            case "the flags of a server may name a token file that only the server has" (fun () ->
                task {
                    let! code, _, errors =
                        run
                            [
                                "check"
                                "--unsafe_bearer_token_proxy_auth_file=/nowhere/token"
                                "--kedge_config_director_config={}"
                                "--kedge_config_backendpool_config={}"
                            ]

                    Expect.equal (code, errors) (0, [||]) "no error"
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
