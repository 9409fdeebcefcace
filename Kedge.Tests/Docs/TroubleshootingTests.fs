/// docs/troubleshooting.md has a section for each type of error that a caller can see.
module Kedge.Tests.Docs.TroubleshootingTests

open System.IO
open System.Text.RegularExpressions
open Expecto
open Kedge.Tests.Core

[<Tests>]
let tests =
    testList
        "troubleshooting"
        [
            test "each error type of kedge's own responses has a section and a row in the table" {
                let read path = File.ReadAllText(SourceTree.path path)

                let all pattern text =
                    [ for found in Regex.Matches(text, pattern) -> found.Groups[1].Value ]
                    |> List.distinct
                    |> List.sort

                let types =
                    read "Kedge.Host/Http/LocalReply.cs"
                    |> all @"(?:GrpcStatus\.\w+,\s*|RateLimitedType = )""([a-z-]+)"""

                Expect.isGreaterThan types.Length 10 "types were found"

                let table =
                    (read "docs/matching.md").Split("## Responses from kedge itself")[1]
                    |> all @"(?m)^\|[^|]+\| `([a-z-]+)` \| \d"

                Expect.equal table types "docs/matching.md"

                let sections =
                    read "docs/troubleshooting.md" |> all @"(?m)^## ([a-z]+(?:-[a-z]+)*)$"

                Expect.equal sections types "docs/troubleshooting.md"
            }
        ]
