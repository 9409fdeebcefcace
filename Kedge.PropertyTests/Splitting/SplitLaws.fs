/// Several backends of a route: whose a caller is, and who moves when weights change.
module Kedge.PropertyTests.SplitLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded

let private names =
    [ "shop"; "shop_next"; "shop_old"; "a1"; "zz"; "m.m"; "shop-2"; "b7" ]

let private weight =
    Gen.frequency
        [
            1, Gen.constant 0u
            4, Gen.choose (1, 100) |> Gen.map uint32
            1, Gen.choose (1, 1_000_000) |> Gen.map uint32
        ]

let private splitOf (key: SplitKey option) (weights: (string * uint32) list) : Split =
    {
        Backends = weights |> List.map (fun (name, weight) -> { Name = name; Weight = weight })
        Key = key
        OnUnavailable = OnUnavailable.Fail
    }

let private sticky = splitOf (Some(SplitKey.Cookie "session"))

type private Change =
    {
        Salt: string
        Weights: (string * uint32) list
        /// The backend whose weight changes, and to what.
        Changed: int
        To: uint32
        Keys: uint64 list
    }

let private weights =
    gen {
        let! count = Gen.choose (1, names.Length)
        let! names = Gen.shuffle names
        let! weights = Gen.listOfLength count weight
        let weights = List.zip (List.ofArray names |> List.truncate count) weights

        return
            if weights |> List.forall (fun (_, weight) -> weight = 0u) then
                [ fst weights.Head, 1u ]
            else
                weights
    }

let private keyHash =
    Gen.choose (0, Int32.MaxValue)
    |> Gen.map (fun n -> KeyHash.ofText ((string n).AsSpan()))

let private change =
    gen {
        let! weights = weights
        let! changed = Gen.choose (0, weights.Length - 1)
        let! value = weight
        let! salt = Gen.elements [ "shop"; "other"; "host=a.example" ]
        let! keys = Gen.listOfLength 200 keyHash

        return
            {
                Salt = salt
                Weights = weights
                Changed = changed
                To = value
                Keys = keys
            }
    }

let private after (change: Change) =
    change.Weights
    |> List.mapi (fun i (name, weight) -> name, (if i = change.Changed then change.To else weight))

let private nameBy (choice: SplitChoice) key =
    match choice.ByKey(key, 0u) with
    | -1 -> ""
    | index -> choice.Split.Backends[index].Name

let private count = 40_000

let private keys =
    lazy [| for n in 1..count -> KeyHash.ofText ($"caller {n}".AsSpan()) |]

/// Whether a number of so many independent cases with this probability is within 5 standard deviations.
let private isLikely (cases: int) (probability: float) (found: int) =
    let expected = float cases * probability
    let deviation = Math.Sqrt(float cases * probability * (1.0 - probability))
    abs (float found - expected) <= 5.0 * deviation + 1e-6

let private laws =
    [
        Law.test
            "raising a weight moves callers only to this backend, lowering it only away from it"
            500
            [
                "raised and moved", 100
                "lowered and moved", 100
                "three or more backends", 150
            ]
            (Arb.fromGen change)
            (fun seen change ->
                let changed = fst change.Weights[change.Changed]
                let was, now = snd change.Weights[change.Changed], change.To
                let before = SplitChoice(sticky change.Weights, change.Salt)
                let after = SplitChoice(sticky (after change), change.Salt)

                let moved =
                    change.Keys
                    |> List.map (fun key -> nameBy before key, nameBy after key)
                    |> List.filter (fun (one, other) -> one <> other)

                seen.When("raised and moved", now > was && not moved.IsEmpty)
                seen.When("lowered and moved", now < was && not moved.IsEmpty)
                seen.When("three or more backends", change.Weights.Length > 2)

                for one, other in moved do
                    if now > was then
                        Expect.equal other changed "to the raised one"
                    elif now < was then
                        Expect.equal one changed "away from the lowered one"
                    else
                        failtest "nothing has changed")

        Law.test
            "the order of the backends in the file does not matter, nor anything but name, key and weights"
            200
            [ "several", 100 ]
            (Arb.fromGen (
                gen {
                    let! change = change
                    let! shuffled = Gen.shuffle change.Weights
                    return change, List.ofArray shuffled
                }
            ))
            (fun seen (change, shuffled) ->
                seen.When("several", change.Weights.Length > 1 && shuffled <> change.Weights)
                let one = SplitChoice(sticky change.Weights, change.Salt)
                let other = SplitChoice(sticky shuffled, change.Salt)

                for key in change.Keys do
                    Expect.equal (nameBy one key) (nameBy other key) "the same backend")

        Law.test
            "without a backend, its callers move to the others and no others move; none of weight 0 is chosen"
            300
            [ "excluded ones had callers", 100; "nothing left", 5 ]
            (Arb.fromGen change)
            (fun seen change ->
                let choice = SplitChoice(sticky change.Weights, change.Salt)
                let excluded = 1u <<< change.Changed

                for key in change.Keys do
                    let first = choice.ByKey(key, 0u)
                    let second = choice.ByKey(key, excluded)
                    Expect.isGreaterThan (snd change.Weights[first]) 0u "not of weight 0"
                    seen.When("excluded ones had callers", (first = change.Changed))
                    seen.When("nothing left", second < 0)

                    if first <> change.Changed then
                        Expect.equal second first "stays"
                    else
                        Expect.notEqual second change.Changed "moves"

                    let drawn = choice.ByDraw(key, excluded)
                    Expect.equal (drawn < 0) (second < 0) "a draw finds one, too"

                    if drawn >= 0 then
                        Expect.isGreaterThan (snd change.Weights[drawn]) 0u "a draw of weight 0"
                        Expect.notEqual drawn change.Changed "excluded from draws")

        Law.test
            "each backend gets its share: of callers, and of draws"
            10
            [ "several", 3 ]
            (Arb.fromGen weights)
            (fun seen weights ->
                seen.When("several", weights.Length > 2)
                let choice = SplitChoice(sticky weights, "shop")
                let total = weights |> List.sumBy (snd >> float)
                let byKey = keys.Value |> Array.countBy (fun key -> choice.ByKey(key, 0u)) |> Map
                let random = Random 7

                let byDraw =
                    keys.Value
                    |> Array.countBy (fun _ -> choice.ByDraw(uint64 (random.NextInt64()) <<< 1, 0u))
                    |> Map

                weights
                |> List.iteri (fun i (name, weight) ->
                    let share = float weight / total
                    let found (counts: Map<int, int>) = counts.TryFind i |> Option.defaultValue 0
                    Expect.isTrue (isLikely count share (found byKey)) $"callers of {name}: {found byKey}, {share}"
                    Expect.isTrue (isLikely count share (found byDraw)) $"draws of {name}: {found byDraw}, {share}"))

        Law.test
            "the share that a change of weights moves is the one that is reported"
            15
            [ "moved", 5 ]
            (Arb.fromGen (Gen.zip weights weights))
            (fun seen (was, now) ->
                let before, after = SplitChoice(sticky was, "shop"), SplitChoice(sticky now, "shop")
                let renamed = SplitChoice(sticky now, "shop-2")

                let moved (other: SplitChoice) =
                    keys.Value
                    |> Array.filter (fun key -> nameBy before key <> nameBy other key)
                    |> Array.length

                let share = MovedShare.ofKeys (sticky was) (sticky now)
                seen.When("moved", not share.IsZero && share.Value < 1.0)
                Expect.isTrue (isLikely count share.Value (moved after)) $"{moved after}, {share.Text}"
                let share = MovedShare.ofOtherDraws (sticky was) (sticky now)
                Expect.isTrue (isLikely count share.Value (moved renamed)) $"renamed: {moved renamed}, {share.Text}")

        Law.test
            "changing one weight moves the least share that any choice could move"
            300
            [ "moved", 100 ]
            (Arb.fromGen change)
            (fun seen change ->
                let one, other = splitOf None change.Weights, splitOf None (after change)

                if other.Total > 0UL then
                    let share = MovedShare.ofKeys one other
                    seen.When("moved", not share.IsZero)
                    Expect.equal share.Text (MovedShare.ofDraws one other).Text "the same share")
    ]

let private cases =
    [
        test "the hash never changes" {
            Expect.equal (KeyHash.ofText ("".AsSpan())) 0xF52A15E9A9B5E89BUL "empty"
            Expect.equal (KeyHash.ofText ("abc".AsSpan())) 0x0DD490490804B508UL "abc"
            Expect.equal (KeyHash.ofQueryValue ("%61b%63".AsSpan())) (KeyHash.ofText ("abc".AsSpan())) "decoded"
            Expect.equal (KeyHash.ofQueryValue ("a+b".AsSpan())) (KeyHash.ofText ("a b".AsSpan())) "a blank"
        }

        test "of 95 and 5, raising 5 to 50 moves 9/20 of the callers" {
            let before = sticky [ "shop", 95u; "shop_next", 5u ]
            let after = sticky [ "shop", 50u; "shop_next", 50u ]
            Expect.equal (MovedShare.ofKeys before after).Text "9/20 (45 %)" "of callers"
            Expect.equal (MovedShare.ofDraws before after).Text "9/20 (45 %)" "of draws"
        }

        test "two routes do not put the same callers first" {
            let split = sticky [ "shop", 90u; "shop_next", 10u ]
            let one, other = SplitChoice(split, "one"), SplitChoice(split, "other")

            let both =
                keys.Value
                |> Array.filter (fun key -> nameBy one key = "shop_next" && nameBy other key = "shop_next")

            Expect.isTrue (isLikely count 0.01 both.Length) $"{both.Length}"
        }

        for header, name, expected in
            [
                "session=abc", "session", "abc"
                "a=1; session=abc; session=other", "session", "abc"
                "a=1;session= abc ;b", "session", "abc"
                "xsession=1; session=2", "session", "2"
                "Session=1", "session", ""
                "session", "session", ""
                "session=", "session", ""
                ";;=x; session=a=b", "session", "a=b"
                "", "session", ""
            ] do
            test $"the cookie {name} of '{header}'" {
                let struct (start, length) = RequestKey.cookie (header.AsSpan()) (name.AsSpan())
                Expect.equal (header.Substring(start, length)) expected "its value"
            }

        for query, expected in
            [
                "v=1", "1"
                "w=0&v=1&v=2", "1"
                "%76=a%20b", "a%20b"
                "v&v=2", ""
                "v=", ""
                "w=v", ""
                "", ""
                "&&v=x", "x"
            ] do
            test $"the parameter v of '{query}'" {
                let struct (start, length) = RequestKey.query (query.AsSpan()) (ReadOnlySpan "v"B)
                Expect.equal (query.Substring(start, length)) expected "its value"
            }
    ]

[<Tests>]
let tests = testList "splits" (laws @ cases)
