namespace Kedge.Domain

open System

/// What is known about an endpoint's health: an immutable value, replaced at each event that changes it. An event that
/// changes nothing yields the same object, so that a healthy endpoint costs no allocation.
///
/// `now` comes from a monotonic clock, in ticks of `TimeSpan` since an arbitrary start; it is never negative.
[<Sealed; AllowNullLiteral>]
type EndpointHealth
    private (backoffUntil: int64, ejectedUntil: int64, failures: int, isUnhealthy: bool, probesAgainst: int) =

    static let initial = EndpointHealth(0L, 0L, 0, false, 0)

    static let later (now: int64) (duration: int64) =
        if duration > Int64.MaxValue - now then
            Int64.MaxValue
        else
            now + duration

    /// A new endpoint counts as healthy: it need not wait for its first probe.
    static member Initial = initial

    /// When its backoff after a failed connection ends; 0 = it never was in backoff, or a connection has succeeded
    /// since.
    member _.BackoffUntil = backoffUntil

    /// When its ejection after consecutive failures ends; 0 = it was never ejected.
    member _.EjectedUntil = ejectedUntil

    /// Failed responses since the last successful one or the last ejection; 0 unless the policy ejects.
    member _.ConsecutiveFailures = failures

    /// According to its probes.
    member _.IsUnhealthy = isUnhealthy

    member _.IsEjected(now: int64) = now < ejectedUntil

    /// Whether requests should be sent there.
    member _.IsAvailable(now: int64) = now >= backoffUntil && now >= ejectedUntil && not isUnhealthy

    /// A connection attempt failed, which starts a backoff. A shorter backoff does not shorten a longer one.
    member health.ConnectFailed(policy: HealthPolicy, now: int64) : EndpointHealth =
        let until =
            if policy.ConnectBackoff = 0L then
                0L
            else
                later now policy.ConnectBackoff

        if until <= backoffUntil then
            health
        else
            EndpointHealth(until, ejectedUntil, failures, isUnhealthy, probesAgainst)

    /// A connection attempt succeeded, which ends a backoff.
    member health.Connected() : EndpointHealth =
        if backoffUntil = 0L then
            health
        else
            EndpointHealth(0L, ejectedUntil, failures, isUnhealthy, probesAgainst)

    /// A successful response, which ends a run of failures and a backoff. An ejection still lasts its full time: the
    /// request may have been sent long ago, and its response says nothing about the present.
    member health.Succeeded() : EndpointHealth =
        if backoffUntil = 0L && failures = 0 then
            health
        else
            EndpointHealth(0L, ejectedUntil, 0, isUnhealthy, probesAgainst)

    /// A failed response, or a broken connection. `ejected` of the backend's `total` endpoints are ejected now, not
    /// counting this one. When the run is long enough but no more endpoints may be ejected, the next failure tries
    /// again.
    member health.AnswerFailed(policy: HealthPolicy, now: int64, ejected: int, total: int) : EndpointHealth =
        if policy.EjectAfter = 0 || health.IsEjected now then
            health
        else
            let row = min policy.EjectAfter (failures + 1)

            let mayEject =
                int64 ejected + 1L < int64 total
                && (int64 ejected + 1L) * 100L <= int64 policy.MaxEjectionPercent * int64 total

            if row >= policy.EjectAfter && mayEject then
                EndpointHealth(backoffUntil, later now policy.EjectionTime, 0, isUnhealthy, probesAgainst)
            elif row = failures then
                health
            else
                EndpointHealth(backoffUntil, ejectedUntil, row, isUnhealthy, probesAgainst)

    /// An active health check passed or failed. Only a run of results against the current state, as long as the
    /// threshold, changes the state.
    member health.Probed(policy: HealthPolicy, passed: bool) : EndpointHealth =
        if passed <> isUnhealthy then
            if probesAgainst = 0 then
                health
            else
                EndpointHealth(backoffUntil, ejectedUntil, failures, isUnhealthy, 0)
        else
            let threshold =
                if isUnhealthy then
                    policy.HealthyThreshold
                else
                    policy.UnhealthyThreshold

            if probesAgainst + 1 >= threshold then
                EndpointHealth(backoffUntil, ejectedUntil, failures, not isUnhealthy, 0)
            else
                EndpointHealth(backoffUntil, ejectedUntil, failures, isUnhealthy, probesAgainst + 1)
