/// Laws of mirrors: which requests are copied, and that this depends on nothing that it should not depend on.
module Kedge.PropertyTests.MirrorLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded

let private mirror (percent: int) : RouteMirror =
    {
        Backend = "shop_shadow"
        Percent = percent
        MaxBody = 65536
        UnsafeMethods = false
        WithCredentials = false
    }

let private count = 40_000

let private keys =
    lazy [| for n in 1..count -> KeyHash.ofText ($"caller {n}".AsSpan()) |]

/// Whether a number of so many independent cases with this probability is within 5 standard deviations.
let private isLikely (cases: int) (probability: float) (found: int) =
    let expected = float cases * probability
    let deviation = Math.Sqrt(float cases * probability * (1.0 - probability))
    abs (float found - expected) <= 5.0 * deviation + 1e-6

let private salt = Gen.elements [ "shop"; "other"; "host=a.example" ]

let private errors (route: string) (section: string) =
    let json = $$"""{ "{{section}}": { "routes": [ {{route}} ] } }"""

    match ConfigFile.loadDirector "d" (ReadOnlyMemory(Encoding.UTF8.GetBytes json)) with
    | Ok _ -> []
    | Error errors ->
        errors
        |> List.map (fun error ->
            JsonPath.render error.At.Path, $"{ConfigError.kind error} {ConfigError.describe error}")

let private laws =
    [
        Law.test
            "raising the percentage of a mirror only adds callers"
            100
            [ "some are added", 30 ]
            (Arb.fromGen (
                gen {
                    let! one = Gen.choose (0, 100)
                    let! other = Gen.choose (0, 100)
                    let! salt = salt
                    return min one other, max one other, salt
                }
            ))
            (fun seen (low, high, salt) ->
                let before, after = MirrorChoice(mirror low, salt), MirrorChoice(mirror high, salt)
                let some = Array.truncate 500 keys.Value

                seen.When(
                    "some are added",
                    some |> Array.exists (fun key -> after.ByKey key && not (before.ByKey key))
                )

                for key in some do
                    Expect.isTrue (after.ByKey key || not (before.ByKey key)) "still copied"
                    Expect.isTrue (after.ByDraw key || not (before.ByDraw key)) "a draw, too"

                    if high = 100 then
                        Expect.isTrue (after.ByKey key && after.ByDraw key) "all"

                    if low = 0 then
                        Expect.isFalse (before.ByKey key || before.ByDraw key) "none")

        Law.test
            "a mirror gets its share of callers and of draws, and the same share of the callers of each backend"
            15
            [ "a part", 8 ]
            (Arb.fromGen (Gen.zip (Gen.choose (0, 100)) salt))
            (fun seen (percent, salt) ->
                let choice = MirrorChoice(mirror percent, salt)
                let share = float percent / 100.0
                seen.When("a part", percent > 5 && percent < 95)
                let random = Random 11
                let copied = keys.Value |> Array.filter choice.ByKey
                Expect.isTrue (isLikely count share copied.Length) $"{copied.Length} of callers, {share}"

                let drawn =
                    keys.Value
                    |> Array.filter (fun _ -> choice.ByDraw(uint64 (random.NextInt64()) <<< 1))
                    |> Array.length

                Expect.isTrue (isLikely count share drawn) $"{drawn} draws, {share}"

                // A mirror may have the name of a backend of another route of the same name, in the other protocol.
                let split =
                    SplitChoice(
                        {
                            Backends = [ { Name = "shop"; Weight = 50u }; { Name = "shop_shadow"; Weight = 50u } ]
                            Key = None
                            OnUnavailable = OnUnavailable.Fail
                        },
                        salt
                    )

                for backend in 0..1 do
                    let own = keys.Value |> Array.filter (fun key -> split.ByKey(key, 0u) = backend)
                    let copied = own |> Array.filter choice.ByKey
                    Expect.isTrue (isLikely own.Length share copied.Length) $"of backend {backend}: {copied.Length}")

        test "requests that may change something are copied only where the mirror says so, and CONNECT never" {
            let safe = [ "GET"; "HEAD"; "OPTIONS"; "TRACE" ]

            for method in safe @ [ "POST"; "PUT"; "PATCH"; "DELETE"; "PURGE"; "get"; "" ] do
                let isSafe = List.contains method safe
                Expect.equal ((mirror 100).Allows method) isSafe method
                Expect.isTrue ({ mirror 100 with UnsafeMethods = true }.Allows method) method

            for unsafe in [ false; true ] do
                Expect.isFalse
                    ({ mirror 100 with
                        UnsafeMethods = unsafe
                    }
                        .Allows
                        "CONNECT")
                    "CONNECT"
        }
    ]

let private cases =
    [
        for section, route, path, part in
            [
                "http",
                """{ "backend_name": "shop", "mirror": [ { "backend_name": "shop" } ] }""",
                "$.http.routes[0].mirror[0].backend_name",
                "mirror-of-itself"
                "http",
                """{ "backends": [ { "name": "a1" }, { "name": "b1" } ], "mirror": [ { "backend_name": "b1" } ] }""",
                "$.http.routes[0].mirror[0].backend_name",
                "mirror-of-itself"
                "http",
                """{ "backend_name": "shop", "mirror": [ { "backend_name": "m1" }, { "backend_name": "m1" } ] }""",
                "$.http.routes[0].mirror[1].backend_name",
                "the name is taken"
                "http",
                """{ "backend_name": "shop", "mirror": [ { "percent": 5 } ] }""",
                "$.http.routes[0].mirror[0]",
                "backend_name"
                "http",
                """{ "backend_name": "shop", "mirror": [ { "backend_name": "m1", "percent": 101 } ] }""",
                "$.http.routes[0].mirror[0].percent",
                "0 to 100"
                "http",
                """{ "backend_name": "shop", "mirror": [ { "backend_name": "m1", "max_body": "2MiB" } ] }""",
                "$.http.routes[0].mirror[0].max_body",
                "0B to 1MiB"
                "http",
                """{ "backend_name": "shop", "mirror": [ { "backend_name": "m1", "unsafe_method": true } ] }""",
                "$.http.routes[0].mirror[0].unsafe_method",
                "did you mean unsafe_methods?"
                "http",
                """{ "redirect": { "scheme": "https" }, "mirror": [ { "backend_name": "m1" } ] }""",
                "$.http.routes[0].mirror",
                "forwards no request"
                "http",
                """{ "backend_name": "shop", "mirror": [ { "backend_name": "m1" }, { "backend_name": "m2" },
                     { "backend_name": "m3" }, { "backend_name": "m4" }, { "backend_name": "m5" } ] }""",
                "$.http.routes[0].mirror",
                "at most 4 mirrors"
                "grpc",
                """{ "backend_name": "shop", "mirror": [ { "backend_name": "m1" } ] }""",
                "$.grpc.routes[0].mirror[0].unsafe_methods",
                "must be true"
            ] do
            test $"{section}: {part} in {route}" {
                Expect.exists (errors route section) (fun (at, text) -> at = path && text.Contains part) route
            }
    ]

[<Tests>]
let tests = testList "mirrors" (laws @ cases)
