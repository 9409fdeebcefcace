/// The memory for tokens that were verified.
module Kedge.Tests.Authorization.TokenCacheTests

open System
open Expecto
open Kedge.Domain
open Kedge.Host.Authorization

let private hash (i: int) = TokenHash.Of((string i).AsSpan())
let private expires = DateTimeOffset.UtcNow.AddHours 1.0

/// How many of the first tokens are known, those that came last first.
let private known (cache: TokenCache) (count: int) =
    Seq.init count (fun i -> count - 1 - i)
    |> Seq.filter (fun i -> not (isNull (box (cache.Find(hash i)))))
    |> Seq.length

[<Tests>]
let tests =
    testList
        "verified tokens"
        [
            testCase "however many tokens come, at most 10,000 are known, and the last ones are" (fun () ->
                let cache = TokenCache TimeProvider.System

                for i in 0..99_999 do
                    cache.Add(hash i, TokenState.StaticToken, expires)

                let young = known cache 100_000
                Expect.isLessThanOrEqual young TokenCache.DefaultCapacity "known"
                Expect.isGreaterThan young (TokenCache.DefaultCapacity / 2 - 1) "known"
                Expect.isNotNull (box (cache.Find(hash 99_999))) "the last one"
                Expect.isNull (box (cache.Find(hash 0))) "the first one")

            testCase "a token that is in use stays known" (fun () ->
                let cache = TokenCache TimeProvider.System
                cache.Add(hash -1, TokenState.StaticToken, expires)

                for i in 0..49_999 do
                    cache.Add(hash i, TokenState.StaticToken, expires)

                    if i % 1000 = 0 then
                        Expect.isNotNull (box (cache.Find(hash -1))) "known")
        ]
