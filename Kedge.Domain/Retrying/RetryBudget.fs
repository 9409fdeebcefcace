namespace Kedge.Domain

open System

/// How many retries a backend gets. Immutable: each event yields the next state.
///
/// Each first attempt deposits `percent` hundredths of a retry, which are valid for `interval`; `minPerSecond` retries
/// a second are free. At each allowed retry, the retries of the interval that ends there, this one included, number at
/// most the free ones plus that share of the first attempts of the same interval: however many requests fail, retries
/// cannot multiply the load (SRE book, "Retry Amplification"; Finagle's RetryBudget).
///
/// Time is counted in tenths of the interval. A deposit is valid for nine of these and the elapsed part of the tenth,
/// so never longer than the interval; a retry counts for ten and the elapsed part of the next, so never shorter.
[<Sealed>]
type RetryBudget
    private (percent: int64, slice: int64, free: int64, last: int64, firsts: int64 array, taken: int64 array) =

    static let slices = 10

    /// In hundredths of a retry.
    let balance = free + percent * Array.sum firsts - 100L * Array.sum taken

    /// The counts as of `now`, without those that are too old.
    let at (now: int64) : struct (int64 * int64 array * int64 array) =
        // If the clock goes back, the budget's time stops.
        let current = max last (now / slice)
        let moved = int (min (current - last) (int64 slices + 1L))

        let shifted (counts: int64 array) =
            Array.init counts.Length (fun i -> if i < moved then 0L else counts[i - moved])

        struct (current, shifted firsts, shifted taken)

    let next (current, firsts, taken) = RetryBudget(percent, slice, free, current, firsts, taken)

    /// `percent`: 0 to 100. `interval`: 1 s or more.
    static member Of(percent: int, interval: TimeSpan, minPerSecond: int) : RetryBudget =
        RetryBudget(
            int64 percent,
            interval.Ticks / int64 slices,
            int64 minPerSecond * 100L * (interval.Ticks / TimeSpan.TicksPerMillisecond)
            / 1000L,
            0L,
            Array.zeroCreate slices,
            Array.zeroCreate (slices + 1)
        )

    /// The budget of a backend, with defaults for the fields that its definition leaves out.
    static member Of(budget: Decoded.RetryBudget option) : RetryBudget =
        let percent, interval, floor =
            match budget with
            | Some budget -> budget.Percent, budget.Interval, budget.MinPerSecond
            | None -> None, TimeSpan.Zero, None

        let orElse fallback value = int (Option.defaultValue fallback value)

        RetryBudget.Of(
            orElse 20u percent,
            (if interval = TimeSpan.Zero then
                 TimeSpan.FromSeconds 10.0
             else
                 interval),
            orElse 10u floor
        )

    /// The share of a retry that a first attempt allows, in percent.
    member _.Percent: int = int percent

    /// Whether it counts no attempts in its interval.
    member _.IsUnused: bool = Array.forall ((=) 0L) firsts && Array.forall ((=) 0L) taken

    /// Counts a first attempt. `now` is the time of a monotonic clock, in ticks of `TimeSpan`.
    member _.First(now: int64) : RetryBudget =
        let struct (current, firsts, taken) = at now
        firsts[0] <- firsts[0] + 1L
        next (current, firsts, taken)

    /// The state after a retry; none when the budget allows no retry.
    member _.TryTake(now: int64) : RetryBudget voption =
        let struct (current, firsts, taken) = at now
        taken[0] <- taken[0] + 1L
        let after: RetryBudget = next (current, firsts, taken)
        if after.Balance < 0L then ValueNone else ValueSome after

    /// How many retries it allows at once.
    member _.Tokens(now: int64) : float =
        let struct (current, firsts, taken) = at now
        let after: RetryBudget = next (current, firsts, taken)
        float (max 0L after.Balance) / 100.0

    member private _.Balance: int64 = balance
