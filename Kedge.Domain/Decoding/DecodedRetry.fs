namespace Kedge.Domain.Decoded

open System

/// How long the requests of a route may take.
type Timeouts =
    {
        /// From the headers of the request to the last byte of the response; zero = no limit.
        Request: TimeSpan
        /// The same for each attempt, from the first byte sent to an endpoint; zero = no limit.
        Attempt: TimeSpan
    }

/// Which requests may be retried although an endpoint may have processed them already. The numbers are those of the
/// enum in JSON.
type RetryMethods =
    /// Those whose method is idempotent (RFC 9110, 9.2.2).
    | Idempotent = 0
    /// All.
    | Any = 1
    /// As `Idempotent`, and POST and PATCH with an `Idempotency-Key` header.
    | IdempotencyKey = 2

/// How long to wait before a retry.
type RetryBackoff =
    {
        /// Zero = 25 ms.
        Base: TimeSpan
        /// Zero = 250 ms, or the base if that is longer.
        Max: TimeSpan
    }

/// When a request is retried.
type Retry =
    {
        /// The most retries, not counting the first attempt.
        Attempts: uint32
        /// Statuses (`503`), `RESET_BEFORE_HEADERS`, `ATTEMPT_TIMEOUT`.
        On: string list
        Methods: RetryMethods
        /// The largest body that is kept for a retry, in bytes; None = 64 KiB.
        MaxBody: uint32 option
        Backoff: RetryBackoff option
    }

/// The same for gRPC calls.
type GrpcRetry =
    {
        Retry: Retry
        /// Statuses of responses without a message.
        GrpcOn: GrpcStatus list
    }

/// How many of the requests to a backend may be retries.
type RetryBudget =
    {
        /// For each hundred first attempts; None = 20.
        Percent: uint32 option
        /// How long a first attempt counts; zero = 10 s.
        Interval: TimeSpan
        /// The retries per second that are always allowed; None = 10.
        MinPerSecond: uint32 option
    }
