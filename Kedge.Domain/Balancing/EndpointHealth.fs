namespace Kedge.Domain

open System
open Kedge.Domain.Decoded

/// The numbers behind setting endpoints aside. Times are in ticks of `TimeSpan`.
type HealthPolicy =
    {
        /// How long an endpoint that could not be connected to is left out; 0 = not at all.
        ConnectBackoff: int64
        /// Failures in a row that eject an endpoint; 0 = never.
        EjectAfter: int
        EjectionTime: int64
        /// At most this many in a hundred of the endpoints are ejected at a time, and never all of them. 1 to 100.
        MaxEjectionPercent: int
        /// Good probes in a row until an unwell endpoint is well again; at least 1.
        HealthyThreshold: int
        /// Bad probes in a row until an endpoint is unwell; at least 1.
        UnhealthyThreshold: int
    }

    /// That of a backend, with the defaults for what it leaves out. `connectBackoff` is the server's
    /// `lbtransport_failed_target_backoff_duration`.
    static member Of(backend: Backend, connectBackoff: TimeSpan) : HealthPolicy =
        let count (value: uint32) defaultValue =
            if value = 0u then
                defaultValue
            else
                int (min value 1_000_000u)

        let ejectAfter, ejectionTime, maxPercent =
            match backend.OutlierDetection with
            | None -> 0, TimeSpan.Zero, 0u
            | Some outlier -> count outlier.ConsecutiveFailures 0, outlier.EjectionTime, outlier.MaxEjectionPercent

        let healthy, unhealthy =
            match backend.HealthCheck with
            | None -> 0u, 0u
            | Some check -> check.HealthyThreshold, check.UnhealthyThreshold

        {
            ConnectBackoff = max 0L connectBackoff.Ticks
            EjectAfter = ejectAfter
            EjectionTime =
                if ejectionTime <= TimeSpan.Zero then
                    TimeSpan.TicksPerSecond * 30L
                else
                    ejectionTime.Ticks
            MaxEjectionPercent = min 100 (count maxPercent 50)
            HealthyThreshold = count healthy 2
            UnhealthyThreshold = count unhealthy 3
        }

/// What is known of an endpoint's health: a value, replaced at each event that changes it. An event that changes
/// nothing yields the same object, so that a healthy endpoint costs no allocation.
///
/// `now` is a monotonic clock in ticks of `TimeSpan`, from any start, not negative.
[<Sealed; AllowNullLiteral>]
type EndpointHealth private (asideUntil: int64, ejectedUntil: int64, failures: int, isUnwell: bool, probesAgainst: int)
    =

    static let initial = EndpointHealth(0L, 0L, 0, false, 0)

    static let later (now: int64) (duration: int64) =
        if duration > Int64.MaxValue - now then
            Int64.MaxValue
        else
            now + duration

    /// A new endpoint counts as well: it need not wait for its first probe.
    static member Initial = initial

    /// Until when it is left out after a connection that could not be made; 0 = never was, or connected since.
    member _.AsideUntil = asideUntil

    /// Until when it is left out after failures in a row; 0 = never was.
    member _.EjectedUntil = ejectedUntil

    /// Failed answers since the last good one or the last ejection; 0 unless the policy ejects.
    member _.ConsecutiveFailures = failures

    /// Probes say so.
    member _.IsUnwell = isUnwell

    member _.IsEjected(now: int64) = now < ejectedUntil

    /// Whether requests should be sent there.
    member _.IsAvailable(now: int64) = now >= asideUntil && now >= ejectedUntil && not isUnwell

    /// A connection could not be made: aside for the back-off. A shorter one does not shorten a longer one.
    member health.ConnectFailed(policy: HealthPolicy, now: int64) : EndpointHealth =
        let until =
            if policy.ConnectBackoff = 0L then
                0L
            else
                later now policy.ConnectBackoff

        if until <= asideUntil then
            health
        else
            EndpointHealth(until, ejectedUntil, failures, isUnwell, probesAgainst)

    /// A connection was made: no longer aside for that.
    member health.Connected() : EndpointHealth =
        if asideUntil = 0L then
            health
        else
            EndpointHealth(0L, ejectedUntil, failures, isUnwell, probesAgainst)

    /// A good answer: it ends a row of failures and what a failed connection did. An ejection lasts its time, for an
    /// answer that was long under way says nothing of the present.
    member health.Succeeded() : EndpointHealth =
        if asideUntil = 0L && failures = 0 then
            health
        else
            EndpointHealth(0L, ejectedUntil, 0, isUnwell, probesAgainst)

    /// A failed answer, or a connection that broke off. `ejected` of the backend's `total` endpoints are ejected now,
    /// this one not counted. When a row is complete but no more may be ejected, the next failure tries again.
    member health.AnswerFailed(policy: HealthPolicy, now: int64, ejected: int, total: int) : EndpointHealth =
        if policy.EjectAfter = 0 || health.IsEjected now then
            health
        else
            let row = min policy.EjectAfter (failures + 1)

            let mayEject =
                int64 ejected + 1L < int64 total
                && (int64 ejected + 1L) * 100L <= int64 policy.MaxEjectionPercent * int64 total

            if row >= policy.EjectAfter && mayEject then
                EndpointHealth(asideUntil, later now policy.EjectionTime, 0, isUnwell, probesAgainst)
            elif row = failures then
                health
            else
                EndpointHealth(asideUntil, ejectedUntil, row, isUnwell, probesAgainst)

    /// An active health check had a good answer (`passed`) or none. Only a row of answers against the present state,
    /// as long as the threshold, changes it.
    member health.Probed(policy: HealthPolicy, passed: bool) : EndpointHealth =
        if passed <> isUnwell then
            if probesAgainst = 0 then
                health
            else
                EndpointHealth(asideUntil, ejectedUntil, failures, isUnwell, 0)
        else
            let threshold =
                if isUnwell then
                    policy.HealthyThreshold
                else
                    policy.UnhealthyThreshold

            if probesAgainst + 1 >= threshold then
                EndpointHealth(asideUntil, ejectedUntil, failures, not isUnwell, 0)
            else
                EndpointHealth(asideUntil, ejectedUntil, failures, isUnwell, probesAgainst + 1)
