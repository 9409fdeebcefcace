/// Retries by policy: which requests may be sent twice, and how many retries a backend gets.
module Kedge.PropertyTests.RetryLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded

let private second = TimeSpan.TicksPerSecond

type private Event =
    /// A request is sent for the first time, and so many retries are asked for.
    {
        At: int64
        Firsts: int
        Retries: int
    }

type private History =
    {
        Percent: int
        Interval: int64
        MinPerSecond: int
        Events: Event list
    }

let private history =
    gen {
        let! percent = Gen.elements [ 0; 1; 20; 50; 100 ]
        let! interval = Gen.elements [ 1L; 2L; 10L ]
        let! floor = Gen.elements [ 0; 0; 1; 3 ]
        // From within a tenth of the interval to beyond it.
        let! pauses =
            Gen.listOf (Gen.elements [ 0; 1; 3; 40; 99; 101; 350; 999; 1000; 1001; 2500 ])

        let! counts =
            Gen.listOfLength pauses.Length (Gen.zip (Gen.choose (0, 12)) (Gen.choose (0, 8)))

        let! start = Gen.choose (0, 5000)

        let times =
            pauses
            |> List.scan (fun at pause -> at + int64 pause * interval * second / 1000L) (int64 start * 7919L)
            |> List.tail

        return
            {
                Percent = percent
                Interval = interval * second
                MinPerSecond = floor
                Events =
                    List.zip times counts
                    |> List.map (fun (at, (firsts, retries)) ->
                        {
                            At = at
                            Firsts = firsts
                            Retries = retries
                        })
            }
    }

/// Runs a history; the callback gets the time, whether a retry was allowed, and the times of the first attempts and of
/// the retries before it.
let private run (history: History) (asked: int64 -> bool -> int64 list -> int64 list -> unit) =
    let mutable budget =
        Kedge.Domain.RetryBudget.Of(history.Percent, TimeSpan.FromTicks history.Interval, history.MinPerSecond)

    let firsts = ResizeArray<int64>()
    let retries = ResizeArray<int64>()

    for event in history.Events do
        for _ in 1 .. event.Firsts do
            budget <- budget.First event.At
            firsts.Add event.At

        for _ in 1 .. event.Retries do
            match budget.TryTake event.At with
            | ValueSome after ->
                asked event.At true (List.ofSeq firsts) (List.ofSeq retries)
                budget <- after
                retries.Add event.At
            | ValueNone -> asked event.At false (List.ofSeq firsts) (List.ofSeq retries)

let private countSince time times = times |> List.filter (fun at -> at > time) |> List.length |> int64

/// In hundredths of a retry.
let private free (history: History) = int64 history.MinPerSecond * history.Interval / second * 100L

let private budget =
    testList
        "retry budget"
        [
            Law.test
                "retries of any interval that ends with one are at most the floor plus the share of its first attempts"
                500
                [ "allowed", 200; "refused", 200; "allowed by deposits alone", 50 ]
                (Arb.fromGen history)
                (fun seen history ->
                    run history (fun now isAllowed firsts retries ->
                        seen.When("allowed", isAllowed)
                        seen.When("refused", not isAllowed)
                        seen.When("allowed by deposits alone", isAllowed && history.MinPerSecond = 0)

                        if isAllowed then
                            let from = now - history.Interval
                            let taken = 1L + countSince from retries
                            let share = int64 history.Percent * countSince from firsts
                            Expect.isLessThanOrEqual (100L * taken) (free history + share) "within the budget"))

            Law.test
                "a retry is refused only when the budget of the time around the interval is spent"
                500
                [ "refused", 200 ]
                (Arb.fromGen history)
                (fun seen history ->
                    run history (fun now isAllowed firsts retries ->
                        seen.When("refused", not isAllowed)

                        if not isAllowed then
                            // Counted in tenths of the interval.
                            let slack = history.Interval / 10L
                            let taken = 1L + countSince (now - history.Interval - slack) retries

                            let share =
                                int64 history.Percent * countSince (now - history.Interval + slack) firsts

                            Expect.isGreaterThan (100L * taken) (free history + share) "spent"))

            test "the default is a fifth of the first attempts of 10 s, and 10 a second" {
                let start = Kedge.Domain.RetryBudget.Of(None: Decoded.RetryBudget option)
                Expect.equal (start.Tokens 0L) 100.0 "the floor of 10 s"

                let after =
                    Seq.fold (fun (budget: Kedge.Domain.RetryBudget) _ -> budget.First 0L) start [ 1..50 ]

                Expect.equal (after.Tokens 0L) 110.0 "a fifth of 50 more"
                Expect.equal (after.Tokens(11L * second)) 100.0 "deposits age out"
            }
        ]

let private methods =
    [
        "GET"
        "HEAD"
        "OPTIONS"
        "TRACE"
        "PUT"
        "DELETE"
        "POST"
        "PATCH"
        "CONNECT"
        "PROPFIND"
        "get"
    ]

let private idempotent = set [ "GET"; "HEAD"; "OPTIONS"; "TRACE"; "PUT"; "DELETE" ]

/// The fault points at which the facts about an attempt differ.
let private faults =
    [
        RetryCause.Status, 503
        RetryCause.Status, 500
        RetryCause.Status, 429
        RetryCause.Reset, 0
        RetryCause.AttemptTimeout, 0
    ]

let private policies =
    [
        for methods in Enum.GetValues<RetryMethods>() do
            for statuses in [ Set.empty; set [ 503 ]; set [ 429; 500; 503 ] ] do
                for onReset in [ true; false ] do
                    for onTimeout in [ true; false ] do
                        {
                            Attempts = 2
                            Statuses = statuses
                            OnReset = onReset
                            OnAttemptTimeout = onTimeout
                            Methods = methods
                            MaxBody = 65536
                            BackoffBase = TimeSpan.FromMilliseconds 25.0
                            BackoffMax = TimeSpan.FromMilliseconds 250.0
                        }
    ]

let private facts cause status retries methodAllows isKept pushback : RetryFacts =
    {
        Cause = cause
        Status = status
        Retries = retries
        MethodAllows = methodAllows
        IsKept = isKept
        Pushback = pushback
        Left = TimeSpan.MaxValue
        IsStopping = false
        Draw = 0.5
    }

let private decisions =
    testList
        "retry decisions"
        [
            test "no request that is not idempotent is sent twice unless the route says so: method × fault × policy" {
                let mutable retried = 0
                let mutable withheld = 0

                for policy in policies do
                    for method in methods do
                        for hasKey in [ true; false ] do
                            for cause, status in faults do
                                for retries in 0..3 do
                                    for isKept in [ true; false ] do
                                        let allows = policy.Allows(method, hasKey)

                                        let struct (decision, _) =
                                            policy.Decide(facts cause status retries allows isKept ValueNone)

                                        let isNamed =
                                            match cause with
                                            | RetryCause.Reset -> policy.OnReset
                                            | RetryCause.AttemptTimeout -> policy.OnAttemptTimeout
                                            | _ -> policy.Statuses.Contains status

                                        let mayBeTwice =
                                            idempotent.Contains method
                                            || policy.Methods = RetryMethods.Any
                                            || (policy.Methods = RetryMethods.IdempotencyKey
                                                && hasKey
                                                && (method = "POST" || method = "PATCH"))

                                        let expected =
                                            if retries >= 2 || not isNamed then RetryDecision.Final
                                            elif not mayBeTwice then RetryDecision.WithheldMethod
                                            elif not isKept then RetryDecision.WithheldBody
                                            else RetryDecision.Retry

                                        if decision = RetryDecision.Retry then
                                            retried <- retried + 1

                                        if decision = RetryDecision.WithheldMethod then
                                            withheld <- withheld + 1

                                        Expect.equal decision expected $"{method} {hasKey} {cause} {status} {policy}"

                Expect.isGreaterThan retried 1000 "some are retried"
                Expect.isGreaterThan withheld 1000 "some are not"
            }

            Law.test
                "the pause is from the base to twice as much with each retry, and not beyond the maximum"
                500
                [ "bounded by the maximum", 50; "not bounded by it", 50 ]
                (Arb.fromGen (
                    Gen.zip3
                        (Gen.choose (1, 10))
                        (Gen.choose (0, 999))
                        (Gen.zip (Gen.choose (1, 50)) (Gen.choose (1, 500)))
                ))
                (fun seen (retry, draw, (first, longest)) ->
                    let ms (value: int) = TimeSpan.FromMilliseconds(float value)

                    let policy =
                        { policies.Head with
                            BackoffBase = ms first
                            BackoffMax = ms (max first longest)
                        }

                    let pause = policy.Backoff(retry, float draw / 1000.0)
                    let doubled = float first * Math.Pow(2.0, float retry)
                    seen.When("bounded by the maximum", float longest < doubled)
                    seen.When("not bounded by it", float longest >= doubled)
                    Expect.isGreaterThanOrEqual pause policy.BackoffBase "the base"
                    Expect.isLessThanOrEqual pause policy.BackoffMax "the maximum"
                    Expect.isLessThanOrEqual pause.TotalMilliseconds doubled "doubled"
                    let longer = policy.Backoff(retry, 0.9999)
                    Expect.isGreaterThanOrEqual longer pause "it grows with the draw")

            Law.test
                "what the endpoint asks for replaces the pause; longer than the maximum, or negative, ends it"
                500
                [ "kept", 50; "too long", 50; "negative", 20 ]
                (Arb.fromGen (Gen.choose (-100, 600)))
                (fun seen pushback ->
                    let policy = policies |> List.find (fun policy -> policy.Statuses.Contains 503)
                    let asked = TimeSpan.FromMilliseconds(float pushback)

                    let struct (decision, pause) =
                        policy.Decide(facts RetryCause.Status 503 0 true true (ValueSome asked))

                    if pushback < 0 || asked > policy.BackoffMax then
                        seen.Count(if pushback < 0 then "negative" else "too long")
                        Expect.equal decision RetryDecision.WithheldPushback "no retry"
                    else
                        seen.Count "kept"
                        Expect.equal decision RetryDecision.Retry "a retry"
                        Expect.equal pause asked "after the pause")

            Law.test
                "there is no retry when the pause does not end before the time for the request"
                500
                [ "in time", 50; "too late", 50 ]
                (Arb.fromGen (Gen.zip (Gen.choose (0, 100)) (Gen.choose (0, 100))))
                (fun seen (left, pause) ->
                    let policy = policies |> List.find (fun policy -> policy.Statuses.Contains 503)
                    let ms (value: int) = TimeSpan.FromMilliseconds(float value)

                    let facts =
                        { facts RetryCause.Status 503 0 true true (ValueSome(ms pause)) with
                            Left = ms left
                        }

                    let struct (decision, _) = policy.Decide facts
                    let isLate = pause >= left
                    seen.Count(if isLate then "too late" else "in time")

                    let expected =
                        if isLate then
                            RetryDecision.WithheldTime
                        else
                            RetryDecision.Retry

                    Expect.equal decision expected "the decision"
                    let struct (decision, _) = policy.Decide { facts with IsStopping = true }
                    Expect.equal decision RetryDecision.WithheldTime "the server is about to stop")
        ]

[<Tests>]
let tests = testList "retries" [ budget; decisions ]
