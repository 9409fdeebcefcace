namespace Kedge.Domain

open System

/// The generic cell rate algorithm (ITU-T I.371, annex A), which needs one number for each bucket: its theoretical
/// arrival time, the time at which the bucket is empty again. Each request that is allowed puts it one interval off; a
/// request is refused when that would fill the bucket beyond what may come at once.
///
/// Times are nanoseconds on any clock that does not go back. A bucket whose time has come is like one that was never
/// used, so it can be forgotten; any time that has come, such as 0, means an unused bucket.
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

    /// How far off the theoretical arrival time may be when a request comes.
    member gcra.Tolerance: int64 = gcra.tolerance

    /// A share of a limit, when it is divided by a number of replicas. `limit` requests in each `period` (at least 1,
    /// and not zero), of which `burst` (at least 1) may come at once. Of the burst, a share is rounded down, but at
    /// least 1. More replicas than 10,000 count as 10,000.
    static member Of(limit: uint32, period: TimeSpan, burst: uint32, replicas: int) : Gcra =
        let replicas = int64 (Math.Clamp(replicas, 1, 10_000))
        let limit = int64 (max 1u limit)
        let interval = max 1L ((period.Ticks * 100L * replicas + limit - 1L) / limit)
        let burst = max 1L (int64 burst / replicas)

        {
            interval = interval
            tolerance = interval * min (burst - 1L) (Gcra.MaxTolerance / interval)
        }

    /// How long a request has to wait from now on; 0 = it may come now.
    member gcra.Wait(bucket: int64, now: int64) : int64 = max 0L (max bucket now - now - gcra.tolerance)

    /// The bucket after a request that is allowed.
    member gcra.Charged(bucket: int64, now: int64) : int64 = max bucket now + gcra.interval

    /// How many requests may come at once from now on.
    member gcra.Remaining(bucket: int64, now: int64) : int64 =
        let room = gcra.tolerance - (max bucket now - now)
        if room < 0L then 0L else room / max 1L gcra.interval + 1L

    /// Asks several limits about one request: each of `limits` about its bucket of `buckets`. When none refuses,
    /// charges all that allow it, and otherwise none: a request that is refused costs nothing. A limit in `shadow` never
    /// refuses. `waits` receives each limit's wait. Returns whether the request is allowed.
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
