module Kedge.PropertyTests.RateLimitLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded

let private load (json: string) = ConfigFile.loadDirector "d" (ReadOnlyMemory(Encoding.UTF8.GetBytes json))

let private route names = $$"""{ "backend_name": "shop", "rate_limits": [{{names}}] }"""

let private file (limits: string) (names: string) =
    $$"""{ "rate_limits": [{{limits}}], "http": { "routes": [{{route names}}] } }"""

let private sample =
    """"name": "a", "limit": 100, "period": "2s", "burst": 50, "key": ["client_address", "header:x-user"],
       "ipv6_prefix": 56, "on_missing_key": "SHARE", "max_keys": 1000, "scale": "REPLICA", "shadow": false"""

/// Every field of the sample, with another valid value.
let private changes =
    [
        "\"name\": \"a\"", "\"name\": \"b\""
        "\"limit\": 100", "\"limit\": 99"
        "\"2s\"", "\"3s\""
        "\"burst\": 50", "\"burst\": 51"
        "\"header:x-user\"", "\"header:x-other\""
        "\"client_address\", \"header:x-user\"", "\"client_address\""
        "\"ipv6_prefix\": 56", "\"ipv6_prefix\": 57"
        "\"SHARE\"", "\"SKIP\""
        "\"max_keys\": 1000", "\"max_keys\": 1001"
        "\"REPLICA\"", "\"ALL_REPLICAS\""
        "\"shadow\": false", "\"shadow\": true"
    ]

let private errors (json: string) =
    match load json with
    | Ok _ -> []
    | Error errors -> errors |> List.map ConfigError.describe

let private limit: FsCheck.Gen<Kedge.Domain.RateLimit> =
    gen {
        let! limit = Gen.elements [ 1u; 2u; 4u ]
        let! seconds = Gen.elements [ 1L; 2L ]
        let! burst = Gen.elements [ 1u; 2u ]
        let! key = Gen.elements [ []; [ KeyPart.Host ] ]
        let! scale = Gen.elements [ LimitScale.Replica; LimitScale.AllReplicas ]
        let! shadow = Gen.elements [ false; false; true ]

        return
            {
                Name = "a"
                Limit = limit
                Period = TimeSpan.FromSeconds seconds
                Burst = burst
                Key = key
                OnMissingKey = OnMissingKey.Share
                MaxKeys = 10
                Scale = scale
                Shadow = shadow
            }
    }

let private limits = Gen.listOf limit |> Gen.resize 3

let private opposite (change: LimitChange) =
    match change with
    | LimitChange.Tightened -> LimitChange.Loosened
    | LimitChange.Loosened -> LimitChange.Tightened
    | change -> change

/// How many of a flood of requests with one key the limits allow in a time, with so many replicas.
let private flood (limits: Kedge.Domain.RateLimit list) (replicas: int) (time: TimeSpan) =
    let allowed (limit: Kedge.Domain.RateLimit) =
        let share = limit.Share replicas
        share.Remaining(0L, 1L) + time.Ticks * 100L / share.Interval

    limits
    |> List.filter (fun limit -> not limit.Shadow)
    |> List.map allowed
    |> List.fold min Int64.MaxValue

[<Tests>]
let tests =
    testList
        "rate limits"
        [
            testList
                "changing any field of a limit is a difference for the routes that name it"
                [
                    for before, after in changes do
                        test after {
                            let name (json: string) = if json.Contains "\"name\": \"b\"" then "\"b\"" else "\"a\""

                            let routes (json: string) =
                                match load (file $"{{ {json} }}" (name json)) with
                                | Ok director -> director.Value.HttpRoutes
                                | Error errors -> failtestf "%A" errors

                            let changed = sample.Replace(before, after)
                            Expect.notEqual changed sample "the sample has the field"
                            let differences = Diff.routes RouteSemantics.http (routes sample) (routes changed)
                            Expect.hasLength differences 1 "one route has changed"
                            Expect.isSome differences[0].Move "with a request"
                        }
                ]

            Law.test
                "what tightens one way loosens the other, and what tightens allows at most as much of a flood"
                2000
                [ "tightened", 200; "mixed", 100; "same", 50 ]
                (Arb.fromGen (Gen.zip limits limits))
                (fun seen (before, after) ->
                    let change = LimitChange.ofLimits before after
                    seen.When("tightened", (change = LimitChange.Tightened))
                    seen.When("mixed", (change = LimitChange.Mixed))
                    seen.When("same", (change = LimitChange.Same))
                    Expect.equal (LimitChange.ofLimits after before) (opposite change) "the other way"

                    if change = LimitChange.Tightened || change = LimitChange.Same then
                        for replicas in [ 1; 2; 3 ] do
                            for seconds in [ 0L; 1L; 7L; 60L ] do
                                let time = TimeSpan.FromSeconds seconds

                                Expect.isLessThanOrEqual
                                    (flood after replicas time)
                                    (flood before replicas time)
                                    $"{replicas} replicas, {seconds} s")

            test "a limit more tightens, one less loosens, one in shadow mode changes nothing" {
                let one = Gen.sample 20 limit |> Array.toList

                for limit in one do
                    let enforced = { limit with Shadow = false }
                    Expect.equal (LimitChange.ofLimits [] [ enforced ]) LimitChange.Tightened "more"
                    Expect.equal (LimitChange.ofLimits [ enforced ] []) LimitChange.Loosened "less"
                    Expect.equal (LimitChange.ofLimits [] [ { limit with Shadow = true } ]) LimitChange.Same "shadow"
            }

            test "a limit without a burst allows at once what one second allows, and at least one" {
                for limit, period, burst in [ 100, "1s", 100u; 100, "60s", 1u; 7, "2s", 3u; 1, "24h", 1u ] do
                    match load (file $$"""{ "name": "a", "limit": {{limit}}, "period": "{{period}}" }""" "\"a\"") with
                    | Ok director -> Expect.equal director.Value.RateLimits.Head.Burst burst $"{limit} per {period}"
                    | Error errors -> failtestf "%A" errors
            }

            test "limits that depend on the caller's identity are asked last" {
                let limit name key = $$"""{ "name": "{{name}}", "limit": 1, "key": ["{{key}}"] }"""

                let limits =
                    [
                        "a", "token_subject"
                        "b", "host"
                        "c", "client_san"
                        "d", "route"
                        "e", "issuer"
                    ]

                let file =
                    file
                        (limits |> List.map (fun (name, key) -> limit name key) |> String.concat ",")
                        (limits |> List.map (fun (name, _) -> $"\"{name}\"") |> String.concat ",")

                match load file with
                | Ok director ->
                    let order = director.Value.HttpRoutes[0].Outcome.Limits.Limits |> List.map _.Name
                    Expect.equal order [ "b"; "d"; "a"; "c"; "e" ] "order"
                | Error errors -> failtestf "%A" errors
            }

            testList
                "what is wrong is reported with its place"
                [
                    for limits, names, expected in
                        [
                            "{ \"limit\": 1 }", "", "$.rate_limits[0]: name is required"
                            "{ \"name\": \"A\", \"limit\": 1 }", "", "$.rate_limits[0].name: must be 1 to 63 characters"
                            "{ \"name\": \"a\" }", "", "$.rate_limits[0]: limit is required"
                            "{ \"name\": \"a\", \"limit\": 1000001 }",
                            "",
                            "$.rate_limits[0].limit: must be 1 to 1000000"
                            "{ \"name\": \"a\", \"limit\": 1, \"period\": \"1ms\" }",
                            "",
                            "$.rate_limits[0].period: must be 1s to 24h"
                            "{ \"name\": \"a\", \"limit\": 1, \"burst\": 1000000, \"period\": \"24h\" }",
                            "",
                            "$.rate_limits[0].burst: must be smaller"
                            "{ \"name\": \"a\", \"limit\": 1, \"key\": [\"client_adress\"] }",
                            "",
                            "$.rate_limits[0].key[0]: must be one of client_address, client_san, token_subject, issuer, route, host, header:NAME; did you mean client_address?"
                            "{ \"name\": \"a\", \"limit\": 1, \"key\": [\"header:a b\"] }",
                            "",
                            "$.rate_limits[0].key[0]: must be header: and a header name"
                            "{ \"name\": \"a\", \"limit\": 1, \"key\": [\"host\", \"host\"] }",
                            "",
                            "$.rate_limits[0].key[1]: must be given once"
                            "{ \"name\": \"a\", \"limit\": 1, \"ipv6_prefix\": 64 }",
                            "",
                            "$.rate_limits[0].ipv6_prefix: must be omitted"
                            "{ \"name\": \"a\", \"limit\": 1 }, { \"name\": \"a\", \"limit\": 1 }",
                            "",
                            "$.rate_limits[1].name: the name is taken by $.rate_limits[0]"
                            "{ \"name\": \"per_client\", \"limit\": 1 }",
                            "\"per_clients\"",
                            "$.http.routes[0].rate_limits[0]: no rate limit has that name; did you mean per_client?"
                            "{ \"name\": \"a\", \"limit\": 1 }",
                            "\"a\", \"a\"",
                            "$.http.routes[0].rate_limits[1]: must be given once"
                        ] do
                        test expected {
                            match errors (file limits names) with
                            | [ error ] -> Expect.stringContains error expected "error"
                            | errors -> failtestf "%A" errors
                        }
                ]

            test "headers without limits, and more limits than a route may have, are errors" {
                let headers =
                    """{ "http": { "routes": [{ "backend_name": "shop", "rate_limit_headers": true }] } }"""

                Expect.stringContains (errors headers).Head "the route has no rate_limits" "headers"
                let names = [ for i in 1..9 -> $"a{i}" ]

                let limits =
                    names
                    |> List.map (fun name -> $$"""{ "name": "{{name}}", "limit": 1 }""")
                    |> String.concat ","

                let quoted = names |> List.map (fun name -> $"\"{name}\"") |> String.concat ","
                Expect.stringContains (errors (file limits quoted)).Head "at most 8 rate limits" "too many"
            }
        ]
