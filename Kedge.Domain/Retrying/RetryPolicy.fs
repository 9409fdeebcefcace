namespace Kedge.Domain

open System

/// Why an attempt may be repeated.
[<RequireQualifiedAccess>]
type RetryCause =
    /// The HTTP status of the response, or the gRPC status of a response without a message.
    | Status = 0
    /// The endpoint ended the connection or the stream before the headers of a response.
    | Reset = 1
    /// The attempt took too long, and no response headers arrived.
    | AttemptTimeout = 2

/// Whether a request is sent again.
[<RequireQualifiedAccess>]
type RetryDecision =
    /// The policy does not ask for it, or all attempts are used up.
    | Final = 0
    | Retry = 1
    /// The request is not idempotent.
    | WithheldMethod = 2
    /// The body of the request is too large to keep, or could not be read.
    | WithheldBody = 3
    /// The endpoint asks for a longer pause than the policy allows.
    | WithheldPushback = 4
    /// The time that is left for the request is too short, or the server is about to stop.
    | WithheldTime = 5

/// What a decision about a retry depends on.
[<Struct>]
type RetryFacts =
    {
        Cause: RetryCause
        /// Of `RetryCause.Status`.
        Status: int
        /// How often the request was sent again because of the policy.
        Retries: int
        /// See `RetryPolicy.Allows`.
        MethodAllows: bool
        /// Whether the whole request can be sent again.
        IsKept: bool
        /// The pause that the endpoint asks for; negative = no retry.
        Pushback: TimeSpan voption
        /// The time left for the request.
        Left: TimeSpan
        /// Whether the server is about to stop.
        IsStopping: bool
        /// From 0 to below 1; selects the pause.
        Draw: float
    }

/// When the requests of a route are sent again.
type RetryPolicy =
    {
        /// The most retries after the first attempt; 1 to 10.
        Attempts: int
        /// Of HTTP, or of gRPC.
        Statuses: Set<int>
        OnReset: bool
        OnAttemptTimeout: bool
        Methods: Decoded.RetryMethods
        /// In bytes.
        MaxBody: int
        BackoffBase: TimeSpan
        BackoffMax: TimeSpan
    }

    /// RFC 9110, 9.2.2.
    static member IsIdempotent(method: string) : bool =
        match method with
        | "GET"
        | "HEAD"
        | "OPTIONS"
        | "TRACE"
        | "PUT"
        | "DELETE" -> true
        | _ -> false

    /// Whether a request may be processed twice. Methods are case-sensitive.
    member policy.Allows(method: string, hasIdempotencyKey: bool) : bool =
        match policy.Methods with
        | Decoded.RetryMethods.Any -> true
        | Decoded.RetryMethods.IdempotencyKey when hasIdempotencyKey && (method = "POST" || method = "PATCH") -> true
        | _ -> RetryPolicy.IsIdempotent method

    /// Whether the policy asks for a retry after this cause.
    member policy.Names(cause: RetryCause, status: int) : bool =
        match cause with
        | RetryCause.Status -> policy.Statuses.Contains status
        | RetryCause.Reset -> policy.OnReset
        | RetryCause.AttemptTimeout -> policy.OnAttemptTimeout
        | _ -> false

    /// The pause before a retry, counted from 1. The draw selects it between the base and a maximum that doubles with
    /// each retry, up to `BackoffMax`.
    member policy.Backoff(retry: int, draw: float) : TimeSpan =
        let longest =
            min (float policy.BackoffMax.Ticks) (float policy.BackoffBase.Ticks * Math.Pow(2.0, float retry))

        let shortest = float policy.BackoffBase.Ticks
        TimeSpan.FromTicks(int64 (shortest + draw * max 0.0 (longest - shortest)))

    /// Whether the request is sent again, and after which pause. The caller checks the budget afterwards.
    member policy.Decide(facts: RetryFacts) : struct (RetryDecision * TimeSpan) =
        let no decision = struct (decision, TimeSpan.Zero)

        if
            facts.Retries >= policy.Attempts
            || not (policy.Names(facts.Cause, facts.Status))
        then
            no RetryDecision.Final
        elif not facts.MethodAllows then
            no RetryDecision.WithheldMethod
        elif not facts.IsKept then
            no RetryDecision.WithheldBody
        else
            let pause =
                match facts.Pushback with
                | ValueSome pushback -> pushback
                | ValueNone -> policy.Backoff(facts.Retries + 1, facts.Draw)

            if pause < TimeSpan.Zero || pause > policy.BackoffMax then
                no RetryDecision.WithheldPushback
            elif facts.IsStopping || pause >= facts.Left then
                no RetryDecision.WithheldTime
            else
                struct (RetryDecision.Retry, pause)

/// How long the requests of a route may take, and when they are sent again.
type Policies =
    {
        /// Zero = no limit, here and for an attempt.
        RequestTimeout: TimeSpan
        AttemptTimeout: TimeSpan
        Retry: RetryPolicy option
    }

    static member None: Policies =
        {
            RequestTimeout = TimeSpan.Zero
            AttemptTimeout = TimeSpan.Zero
            Retry = None
        }

    member policies.IsNone: bool = (policies = Policies.None)
