/// The faces that the commands use, on whole configurations.
module Kedge.PropertyTests.ReportLaws

open System
open System.Text
open Expecto
open Kedge.Domain
open Kedge.PropertyTests.TableGenerators

let private load (director: string) (pool: string) =
    let loaded =
        Configuration.Load(
            "director.json",
            ReadOnlyMemory(Encoding.UTF8.GetBytes director),
            "backendpool.json",
            ReadOnlyMemory(Encoding.UTF8.GetBytes pool)
        )

    match loaded.Value with
    | null -> failtestf "unsound: %A" (List.ofSeq loaded.Errors)
    | configuration -> configuration

let private pool =
    let backend name =
        $$$"""{"name": "{{{name}}}", "host": {"dns_name": "{{{name}}}.internal", "port": 80}}"""

    $$$"""{"http": {"backends": [{{{backend "one"}}}, {{{backend "two"}}}]}, "grpc": {"backends": [{{{backend "one"}}}, {{{backend "two"}}}]}}"""

let private director (http: string list) (grpc: string list) (adhoc: string list) =
    let join (entries: string list) = String.Join(",\n", entries)

    $$$"""{"http": {"routes": [
{{{join http}}}
], "adhoc_rules": [{{{join adhoc}}}]}, "grpc": {"routes": [{{{join grpc}}}]}}"""

// Ten thousand routes in which nothing is wrong.
let private sound =
    [
        for i in 0..9_997 do
            let path = if i % 2 = 0 then "/api/**" else "/web/**"
            $$$"""{"backend_name": "one", "host_matcher": "h{{{i / 2}}}.example", "path_rules": ["{{{path}}}"]}"""
    ]

let private soundGrpc =
    [
        """{"backend_name": "one", "service_name_matcher": "p.*"}"""
        """{"backend_name": "two"}"""
    ]

let private check (configuration: Configuration) = Check.Findings configuration

let private timed what = withinProcessorTime 5.0 what

[<Tests>]
let tests =
    testSequenced
    <| testList
        "analysis of whole configurations"
        [
            testCase "among ten thousand routes, the planted faults are found and nothing else"
            <| fun () ->
                let planted =
                    [
                        """{"backend_name": "two", "host_matcher": "h7.example", "path_rules": ["/api/v1", "/web/x/*"]}"""
                        """{"backend_name": "two", "host_matcher": "h8.example", "path_rules": ["/api/v1"]}"""
                        """{"backend_name": "one", "host_matcher": "H9.example", "path_rules": ["/api/**"]}"""
                        """{"backend_name": "twoo", "host_matcher": "h10.example", "path_rules": ["/new"]}"""
                    ]

                let soundPool = pool

                let grpc =
                    """{"backend_name": "two", "service_name_matcher": "p.*", "authority_port_matcher": 443}"""
                    :: """{"backend_name": "one", "service_name_matcher": "p.q.*"}"""
                    :: soundGrpc

                let adhoc =
                    [
                        """{"dns_name_matcher": "*.pod", "port": {"allowed": [80]}}"""
                        """{"dns_name_matcher": "*d", "port": {"allowed": [81]}}"""
                        """{"dns_name_matcher": "a.pod", "port": {"allowed": [80]}}"""
                    ]

                let configuration = load (director (sound @ planted) grpc adhoc) soundPool
                let findings = timed (fun () -> check configuration)

                Expect.equal
                    [ for finding in findings -> finding.Kind, finding.Path ]
                    [
                        "dangling-backend", "$.http.routes[10001]"
                        "unreachable-route", "$.http.routes[9998]"
                        "shadowed-route", "$.http.routes[9999]"
                        "duplicate-route", "$.http.routes[10000]"
                        "hidden-adhoc-port", "$.http.adhoc_rules[1]"
                        "hidden-adhoc-rule", "$.http.adhoc_rules[2]"
                        "overlapping-grpc-prefixes", "$.grpc.routes[1]"
                    ]
                    ""

                for finding in findings do
                    Expect.isNonEmpty finding.Witnesses finding.Kind
                    Expect.equal finding.File "director.json" ""

                let dangling = findings[0]
                Expect.equal dangling.Severity Severity.Error ""
                Expect.equal dangling.Line 10_003 "one route on a line, behind the first line"
                Expect.stringContains dangling.Message "did you mean two?" ""
                Expect.equal dangling.Witnesses[0] "GET https://h10.example/new" ""

            testCase "an explanation names file, line and rule, and gathers what is for other hosts"
            <| fun () ->
                let configuration = load (director sound soundGrpc []) pool

                match RequestText.parse ("GET", "https://h4000.example/web/1", [], false, false) with
                | Error error -> failtest error
                | Ok request ->
                    let report = ExplainReport.Of(configuration, request)
                    Expect.equal (Option.ofObj report.Winner |> Option.map _.Index) (Some 8_001) "the winner"

                    Expect.equal
                        (List.ofSeq report.Lines)
                        [
                            "director.json:2: $.http.routes[0] to director.json:8001: $.http.routes[7999]: no, 8000 rules for other hosts"
                            "director.json:8002: $.http.routes[8000] (host=h4000.example path=/api/**): no, path is /web/1, not /api/**"
                            "director.json:8003: $.http.routes[8001] (host=h4000.example path=/web/**): yes"
                            "backend: one"
                            "authorization: as the server's flags require"
                        ]
                        ""

            testCase "of ten thousand routes, only what moves is a difference"
            <| fun () ->
                let before = load (director sound soundGrpc []) pool

                let after =
                    [
                        yield """{"backend_name": "two", "host_matcher": "h3.example", "path_rules": ["/api/v2/*"]}"""
                        yield! List.rev sound
                    ]

                let after = load (director after soundGrpc []) pool
                let differences = timed (fun () -> DiffReport.Differences(before, after))

                Expect.equal
                    [ for d in differences -> d.Kind, d.Witness, d.WitnessBefore, d.WitnessAfter ]
                    [
                        "route-added",
                        "GET https://h3.example/api/v2/x",
                        "director.json:8: $.http.routes[6] host=h3.example path=/api/** -> one",
                        "director.json:2: $.http.routes[0] host=h3.example path=/api/v2/* -> two"
                    ]
                    ""

                Expect.isEmpty (timed (fun () -> DiffReport.Differences(after, after))) "nothing differs from itself"

            testCase "a changed ad-hoc rule and a changed backend are differences"
            <| fun () ->
                let before =
                    load
                        (director sound soundGrpc [ """{"dns_name_matcher": "*.pod", "port": {"allowed": [80]}}""" ])
                        pool

                let after =
                    load
                        (director sound soundGrpc [ """{"dns_name_matcher": "*.pod", "port": {"allowed": [80, 81]}}""" ])
                        (pool.Replace("two.internal", "zwei.internal"))

                Expect.equal
                    [ for d in DiffReport.Differences(before, after) -> d.Kind, d.Witness ]
                    [
                        "adhoc-rules", "GET https://x.pod:81/x"
                        "backend-changed", ""
                        "backend-changed", ""
                    ]
                    ""
        ]
