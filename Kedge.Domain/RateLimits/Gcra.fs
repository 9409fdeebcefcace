namespace Kedge.Domain

open System

/// The generic cell rate algorithm (ITU-T I.371, annex A), which keeps one number per bucket: its theoretical arrival
/// time, at which the bucket is empty again. Each allowed request moves that time one interval into the future; a
/// request is refused when that would fill the bucket beyond the allowed burst.
///
/// Times are nanoseconds of any monotonic clock. A bucket whose time has passed is like one that was never used, so it
/// can be dropped; any time in the past, such as 0, means an unused bucket.
[<Struct>]
type Gcra =
    private
        {
            interval: int64
            tolerance: int64
        }

    // More than 70 years: beyond any limit that makes sense, and far from overflowing.
    static member private MaxTolerance = 1L <<< 61

    /// The time between two requests at a steady rate, rounded up.
    member gcra.Interval: int64 = gcra.interval

    /// How far in the future the theoretical arrival time may be when a request arrives.
    member gcra.Tolerance: int64 = gcra.tolerance

    /// One replica's share of a limit: `limit` requests (at least 1) in each `period` (not zero), of which `burst` (at
    /// least 1) may arrive at once. The share of the burst is rounded down, but at least 1. More than 10,000 replicas
    /// count as 10,000.
    static member Of(limit: uint32, period: TimeSpan, burst: uint32, replicas: int) : Gcra =
        let replicas = int64 (Math.Clamp(replicas, 1, 10_000))
        let limit = int64 (max 1u limit)
        let interval = max 1L ((period.Ticks * 100L * replicas + limit - 1L) / limit)
        let burst = max 1L (int64 burst / replicas)

        {
            interval = interval
            tolerance = interval * min (burst - 1L) (Gcra.MaxTolerance / interval)
        }

    /// How long a request must wait from now; 0 = it is allowed now.
    member gcra.Wait(bucket: int64, now: int64) : int64 = max 0L (max bucket now - now - gcra.tolerance)

    /// The bucket after an allowed request.
    member gcra.Charged(bucket: int64, now: int64) : int64 = max bucket now + gcra.interval

    /// How many requests are allowed at once now.
    member gcra.Remaining(bucket: int64, now: int64) : int64 =
        let room = gcra.tolerance - (max bucket now - now)
        if room < 0L then 0L else room / max 1L gcra.interval + 1L

    /// Checks one request against several limits, each of `limits` with its bucket in `buckets`. If none refuses,
    /// charges all that allow it; otherwise charges none, so a refused request costs nothing. A limit whose `shadow` is
    /// set never refuses. `waits` receives each limit's wait. Returns whether the request is allowed.
    static member AskAll
        (limits: ReadOnlySpan<Gcra>, shadow: ReadOnlySpan<bool>, buckets: Span<int64>, waits: Span<int64>, now: int64)
        : bool =
        let mutable allowed = true

        for i in 0 .. limits.Length - 1 do
            waits[i] <- limits[i].Wait(buckets[i], now)

            if waits[i] > 0L && not shadow[i] then
                allowed <- false

        if allowed then
            for i in 0 .. limits.Length - 1 do
                if waits[i] = 0L then
                    buckets[i] <- limits[i].Charged(buckets[i], now)

        allowed
