namespace Kedge.Domain

open System
open Kedge.Domain.Decoded

/// When endpoints are unavailable, and for how long. Times are in ticks of `TimeSpan`.
type HealthPolicy =
    {
        /// How long an endpoint is in backoff after a failed connection; 0 = not at all.
        ConnectBackoff: int64
        /// The number of consecutive failures that ejects an endpoint; 0 = never.
        EjectAfter: int
        EjectionTime: int64
        /// The largest share of the endpoints, in percent (1 to 100), that may be ejected at the same time. At least
        /// one always remains.
        MaxEjectionPercent: int
        /// The number of consecutive successful probes after which an unhealthy endpoint is healthy again; at least 1.
        HealthyThreshold: int
        /// The number of consecutive failed probes after which an endpoint is unhealthy; at least 1.
        UnhealthyThreshold: int
    }

    /// Only backoff after failed connections: without probes and ejection.
    static member ConnectBackoffOnly(connectBackoff: TimeSpan) : HealthPolicy =
        {
            ConnectBackoff = max 0L connectBackoff.Ticks
            EjectAfter = 0
            EjectionTime = 0L
            MaxEjectionPercent = 100
            HealthyThreshold = 1
            UnhealthyThreshold = 1
        }

    /// The policy of a backend, with the defaults for what it does not set. `connectBackoff` is the server's
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
