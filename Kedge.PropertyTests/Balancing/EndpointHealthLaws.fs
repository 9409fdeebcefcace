module Kedge.PropertyTests.EndpointHealthLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Decoded

type private Event =
    | ConnectFailed
    | Connected
    | Succeeded
    | AnswerFailed of ejected: int * total: int
    | Probed of passed: bool

let private policy =
    gen {
        let! backoff = Gen.elements [ 0L; 5L; 50L ]
        let! ejectAfter = Gen.choose (0, 3)
        let! ejectionTime = Gen.choose64 (1L, 40L)
        let! percent = Gen.elements [ 1; 30; 50; 100 ]
        let! healthy = Gen.choose (1, 3)
        let! unhealthy = Gen.choose (1, 3)

        return
            {
                ConnectBackoff = backoff
                EjectAfter = ejectAfter
                EjectionTime = ejectionTime
                MaxEjectionPercent = percent
                HealthyThreshold = healthy
                UnhealthyThreshold = unhealthy
            }
    }

let private event =
    Gen.frequency
        [
            2, Gen.constant ConnectFailed
            1, Gen.constant Connected
            1, Gen.constant Succeeded
            5,
            gen {
                let! total = Gen.choose (1, 6)
                let! ejected = Gen.choose (0, total - 1)
                return AnswerFailed(ejected, total)
            }
            4, Gen.elements [ Probed true; Probed false; Probed false ]
        ]

let private apply policy now (health: EndpointHealth) event =
    match event with
    | ConnectFailed -> health.ConnectFailed(policy, now)
    | Connected -> health.Connected()
    | Succeeded -> health.Succeeded()
    | AnswerFailed(ejected, total) -> health.AnswerFailed(policy, now, ejected, total)
    | Probed passed -> health.Probed(policy, passed)

/// Events with the time from each to the next.
let private history =
    gen {
        let! length = Gen.choose (0, 20)
        return! Gen.listOfLength length (Gen.zip (Gen.choose64 (0L, 15L)) event)
    }

let private live policy history =
    history
    |> List.fold
        (fun (now, health) (passed, event) -> now + passed, apply policy (now + passed) health event)
        (0L, EndpointHealth.Initial)

let private lived = Gen.zip policy history

[<Tests>]
let tests =
    testList
        "endpoint health"
        [
            Law.test
                "a failed connection causes exactly the backoff, and 0 means none"
                500
                [ "a back-off", 200; "none", 100 ]
                (Arb.fromGen lived)
                (fun seen (policy, history) ->
                    let now, before = live policy history
                    let health = before.ConnectFailed(policy, now)
                    let until = now + policy.ConnectBackoff
                    seen.When("a back-off", policy.ConnectBackoff > 0L)
                    seen.When("none", (policy.ConnectBackoff = 0L))

                    if policy.ConnectBackoff = 0L then
                        Expect.isTrue (obj.ReferenceEquals(before, health)) "unchanged"
                    else
                        Expect.isFalse (health.IsAvailable now) "in backoff"
                        Expect.isFalse (health.IsAvailable(until - 1L)) "in backoff to the end"

                        Expect.equal
                            (health.IsAvailable until)
                            (not health.IsUnhealthy && not (health.IsEjected until))
                            "back after it")

            Law.test
                "a success clears a failed connection and the row of failures"
                500
                [ "was in backoff", 50; "had failures", 50 ]
                (Arb.fromGen lived)
                (fun seen (policy, history) ->
                    let now, before = live policy history
                    seen.When("was in backoff", before.BackoffUntil > now)
                    seen.When("had failures", before.ConsecutiveFailures > 0)
                    let health = before.Succeeded()
                    Expect.equal health.ConsecutiveFailures 0 "row"

                    Expect.equal
                        (health.IsAvailable now)
                        (not health.IsUnhealthy && not (health.IsEjected now))
                        "in backoff"

                    Expect.equal (before.Connected().BackoffUntil) 0L "connected")

            Law.test
                "ejection comes exactly with the last failure of a row, when the limits allow it, and lasts its time"
                500
                [ "ejected", 25; "held back by the limits", 40; "not yet", 40; "off", 75 ]
                (Arb.fromGen (
                    Gen.zip
                        lived
                        (gen {
                            let! total = Gen.choose (1, 10)
                            let! ejected = Gen.choose (0, total - 1)
                            return ejected, total
                        })
                ))
                (fun seen ((policy, history), (ejected, total)) ->
                    let now, before = live policy history
                    let health = before.AnswerFailed(policy, now, ejected, total)

                    let complete =
                        policy.EjectAfter > 0 && before.ConsecutiveFailures + 1 >= policy.EjectAfter

                    let allowed =
                        ejected + 1 < total && (ejected + 1) * 100 <= policy.MaxEjectionPercent * total

                    let already = before.IsEjected now
                    seen.When("off", (policy.EjectAfter = 0))

                    if not already then
                        seen.When("ejected", complete && allowed)
                        seen.When("held back by the limits", complete && not allowed)
                        seen.When("not yet", policy.EjectAfter > 0 && not complete)
                        Expect.equal (health.IsEjected now) (complete && allowed) "ejected"

                        if complete && allowed then
                            Expect.isTrue (health.IsEjected(now + policy.EjectionTime - 1L)) "to the end"
                            Expect.isFalse (health.IsEjected(now + policy.EjectionTime)) "and no longer"
                            Expect.equal health.ConsecutiveFailures 0 "a new row")

            Law.test
                "however endpoints fail, never all are ejected, nor more than the share that may be"
                500
                [ "some are ejected", 200; "the limit held", 200 ]
                (Arb.fromGen (
                    gen {
                        let! policy = policy
                        let! total = Gen.choose (1, 8)
                        let! failing = Gen.listOfLength 60 (Gen.choose (0, total - 1))

                        return
                            { policy with
                                EjectAfter = max 1 policy.EjectAfter
                                EjectionTime = 1000L
                            },
                            total,
                            failing
                    }
                ))
                (fun seen (policy, total, failing) ->
                    let endpoints = Array.create total EndpointHealth.Initial
                    let ejectedNow now = endpoints |> Array.filter (fun e -> e.IsEjected now) |> Array.length

                    for now, index in List.indexed failing do
                        let now = int64 now
                        endpoints[index] <- endpoints[index].AnswerFailed(policy, now, ejectedNow now, total)
                        Expect.isLessThan (ejectedNow now) total "not all"
                        Expect.isLessThanOrEqual (ejectedNow now * 100) (policy.MaxEjectionPercent * total) "the share"

                    let ejected = ejectedNow 60L
                    seen.When("some are ejected", ejected > 0)

                    seen.When(
                        "the limit held",
                        endpoints |> Array.exists (fun e -> e.ConsecutiveFailures >= policy.EjectAfter)
                    ))

            Law.test
                "probes change the state exactly with a row as long as the threshold"
                500
                [
                    "became unhealthy", 200
                    "became healthy again", 100
                    "longer rows were needed", 200
                ]
                (Arb.fromGen (Gen.zip policy (Gen.listOfLength 25 (Gen.elements [ true; false ]))))
                (fun seen (policy, probes) ->
                    let mutable health = EndpointHealth.Initial
                    // The model: the whole list of probes since the last change, newest first.
                    let mutable unhealthy = false
                    let mutable since = []

                    for passed in probes do
                        health <- health.Probed(policy, passed)
                        since <- passed :: since

                        let threshold =
                            if unhealthy then
                                policy.HealthyThreshold
                            else
                                policy.UnhealthyThreshold

                        if
                            since.Length >= threshold
                            && List.take threshold since |> List.forall ((=) unhealthy)
                        then
                            unhealthy <- not unhealthy
                            since <- []
                            seen.When("became unhealthy", unhealthy)
                            seen.When("became healthy again", not unhealthy)

                        Expect.equal health.IsUnhealthy unhealthy "as the model"
                        Expect.equal (health.IsAvailable 0L) (not unhealthy) "available"

                    seen.When("longer rows were needed", policy.UnhealthyThreshold > 1))

            Law.test
                "whatever happened, an endpoint comes back: time ends what events did, but for its probes"
                500
                [ "was not available", 150 ]
                (Arb.fromGen lived)
                (fun seen (policy, history) ->
                    let now, health = live policy history
                    seen.When("was not available", not (health.IsAvailable now))
                    let later = now + max policy.ConnectBackoff policy.EjectionTime
                    Expect.equal (health.IsAvailable later) (not health.IsUnhealthy) "back"

                    let probed =
                        Seq.init policy.HealthyThreshold ignore
                        |> Seq.fold (fun (h: EndpointHealth) () -> h.Probed(policy, true)) health

                    Expect.isTrue (probed.IsAvailable later) "well")

            testCase "good news about a healthy endpoint allocates nothing" (fun () ->
                let policy =
                    {
                        ConnectBackoff = 1L
                        EjectAfter = 1
                        EjectionTime = 1L
                        MaxEjectionPercent = 50
                        HealthyThreshold = 1
                        UnhealthyThreshold = 1
                    }

                let health = EndpointHealth.Initial
                let same (other: EndpointHealth) = obj.ReferenceEquals(health, other)
                Expect.isTrue (same (health.Connected())) "connected"
                Expect.isTrue (same (health.Succeeded())) "succeeded"
                Expect.isTrue (same (health.Probed(policy, true))) "probed")

            testCase "a policy has the documented defaults" (fun () ->
                let backend =
                    {
                        Name = "a"
                        Balancer = Balancer.RoundRobin
                        DisableConntracking = false
                        Security = None
                        Interceptors = []
                        Resolver = Host("127.0.0.1", 80u)
                        Autogenerated = false
                        MaxRequests = 0u
                        HealthCheck = None
                        RetryBudget = None
                        OutlierDetection =
                            Some
                                {
                                    ConsecutiveFailures = 5u
                                    EjectionTime = TimeSpan.Zero
                                    MaxEjectionPercent = 0u
                                }
                    }

                let policy = HealthPolicy.Of(backend, TimeSpan.FromSeconds 2L)
                Expect.equal policy.ConnectBackoff (TimeSpan.FromSeconds(2L).Ticks) "back-off"
                Expect.equal policy.EjectAfter 5 "failures"
                Expect.equal policy.EjectionTime (TimeSpan.FromSeconds(30L).Ticks) "ejection time"
                Expect.equal policy.MaxEjectionPercent 50 "percent"
                Expect.equal (policy.HealthyThreshold, policy.UnhealthyThreshold) (2, 3) "thresholds"
                let off = HealthPolicy.Of({ backend with OutlierDetection = None }, TimeSpan.Zero)
                Expect.equal (off.ConnectBackoff, off.EjectAfter) (0L, 0) "off")

            testCase "time near its end does not overflow" (fun () ->
                let policy =
                    {
                        ConnectBackoff = Int64.MaxValue
                        EjectAfter = 1
                        EjectionTime = Int64.MaxValue
                        MaxEjectionPercent = 100
                        HealthyThreshold = 1
                        UnhealthyThreshold = 1
                    }

                let health =
                    EndpointHealth.Initial.ConnectFailed(policy, 10L).AnswerFailed(policy, 10L, 0, 2)

                Expect.equal (health.BackoffUntil, health.EjectedUntil) (Int64.MaxValue, Int64.MaxValue) "saturated")
        ]
