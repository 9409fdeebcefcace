namespace Kedge.Domain

open System

/// Validation of `timeouts`, `retry` and `retry_budget`. See docs/configuration.md.
[<RequireQualifiedAccess>]
module internal RetryRules =

    let private atLeast = TimeSpan.FromMilliseconds 1.0
    let private day = TimeSpan.FromDays 1.0
    let private minute = TimeSpan.FromMinutes 1.0

    /// The largest request body that kedge keeps for retries, in bytes.
    let private maxBody = 1024u * 1024u

    let private limit (checks: Checks) path (value: TimeSpan) =
        if value <> TimeSpan.Zero && (value < atLeast || value > day) then
            let allowed = $"{Duration.Format atLeast} to {Duration.Format day}, or 0 for none"
            checks.Report(path, OutOfRange(allowed, Excerpt.quote (Duration.Format value)))

    let private timeouts (checks: Checks) path (timeouts: Decoded.Timeouts) =
        let attemptPath = Field "attempt" :: path
        limit checks (Field "request" :: path) timeouts.Request
        limit checks attemptPath timeouts.Attempt

        if timeouts.Request > TimeSpan.Zero && timeouts.Attempt > timeouts.Request then
            let request = Duration.Format timeouts.Request
            let rule = $"attempt-exceeds-request: must not exceed request, which is {request}"
            checks.Malformed(attemptPath, rule, Duration.Format timeouts.Attempt)

    let private reset = "RESET_BEFORE_HEADERS"
    let private attemptTimeout = "ATTEMPT_TIMEOUT"

    /// The status that a cause names.
    let private status (cause: string) : int voption =
        match WholeNumber.parse cause with
        | Ok status when cause.Length = 3 && (status = 429u || status >= 500u && status <= 599u) ->
            ValueSome(int status)
        | _ -> ValueNone

    let private cause (checks: Checks) path (protocol: Protocol) attemptLimit (cause: string) =
        if cause = attemptTimeout && attemptLimit = TimeSpan.Zero then
            checks.Malformed(path, "needs timeouts.attempt, which the route does not have", cause)
        elif cause <> reset && cause <> attemptTimeout then
            match protocol, status cause with
            | Protocol.Http, ValueSome _ -> ()
            | Protocol.Grpc, ValueSome _ ->
                checks.Malformed(path, "is for HTTP routes only; name statuses of gRPC in grpc_on", cause)
            | _ ->
                let meant =
                    match Suggestion.closest [ reset; attemptTimeout ] cause with
                    | Some name -> $"; did you mean {name}?"
                    | None -> ""

                let statuses = if protocol.IsHttp then "429, 500 to 599, " else ""
                checks.Malformed(path, $"must be one of {statuses}{reset}, {attemptTimeout}{meant}", cause)

    let private backoff (checks: Checks) path (backoff: Decoded.RetryBackoff option) : struct (TimeSpan * TimeSpan) =
        let path = Field "backoff" :: path

        let first, longest =
            match backoff with
            | Some backoff ->
                checks.DurationInRange(Field "base" :: path, atLeast, minute, backoff.Base)
                checks.DurationInRange(Field "max" :: path, atLeast, minute, backoff.Max)
                backoff.Base, backoff.Max
            | None -> TimeSpan.Zero, TimeSpan.Zero

        let first =
            if first = TimeSpan.Zero then
                TimeSpan.FromMilliseconds 25.0
            else
                first

        if longest = TimeSpan.Zero then
            struct (first, max first (TimeSpan.FromMilliseconds 250.0))
        else
            if longest < first then
                let rule = $"must not be less than base, which is {Duration.Format first}"
                checks.Malformed(Field "max" :: path, rule, Duration.Format longest)

            struct (first, longest)

    let private retry (checks: Checks) path protocol attemptLimit (retry: Decoded.Retry) (grpcStatuses: int list) =
        if retry.Attempts = 0u then
            checks.Report(path, Missing "attempts")
        else
            checks.InRange(Field "attempts" :: path, NumberRange.attempts, retry.Attempts)

        if retry.On.IsEmpty && grpcStatuses.IsEmpty then
            checks.Report(path, Missing(if protocol = Protocol.Http then "on" else "on or grpc_on"))

        retry.On
        |> List.iteri (fun i text -> cause checks (Step.Index i :: Field "on" :: path) protocol attemptLimit text)

        match retry.MaxBody with
        | Some size when size > maxBody ->
            let allowed = $"0B to {ByteSize.format maxBody}"
            checks.Report(Field "max_body" :: path, OutOfRange(allowed, Excerpt.quote (ByteSize.format size)))
        | _ -> ()

        let struct (first, longest) = backoff checks path retry.Backoff

        {
            Attempts = int retry.Attempts
            Statuses =
                retry.On
                |> List.choose (fun cause ->
                    match status cause with
                    | ValueSome status -> Some status
                    | ValueNone -> None)
                |> List.append grpcStatuses
                |> Set.ofList
            OnReset = List.contains reset retry.On
            OnAttemptTimeout = List.contains attemptTimeout retry.On
            Methods = retry.Methods
            MaxBody = int (min maxBody (Option.defaultValue (64u * 1024u) retry.MaxBody))
            BackoffBase = first
            BackoffMax = longest
        }

    let private grpcRetry (checks: Checks) path attemptLimit (call: Decoded.GrpcRetry) =
        if call.Retry.Methods <> Decoded.RetryMethods.Any then
            let rule =
                "must be ANY: each gRPC call is a POST, and kedge cannot know whether it may be processed twice"

            let name, _ =
                RetryJson.methods |> List.find (fun (_, known) -> known = call.Retry.Methods)

            checks.Malformed(Field "methods" :: path, rule, name)

        call.GrpcOn
        |> List.iteri (fun i status ->
            if status = Decoded.GrpcStatus.Ok then
                checks.Malformed(Step.Index i :: Field "grpc_on" :: path, "must be the status of a failed call", "OK"))

        retry checks path Protocol.Grpc attemptLimit call.Retry (List.map int call.GrpcOn)

    let private policies (checks: Checks) path (backends: string list) (limits: Decoded.Timeouts option) retry =
        let omitted field isGiven =
            if isGiven && backends.IsEmpty then
                checks.Report(Field field :: path, Malformed("must be omitted: the route forwards no request", field))

        omitted "timeouts" limits.IsSome
        omitted "retry" (Option.isSome retry)
        limits |> Option.iter (timeouts checks (Field "timeouts" :: path))

        let request, attempt =
            match limits with
            | Some limits -> limits.Request, limits.Attempt
            | None -> TimeSpan.Zero, TimeSpan.Zero

        {
            RequestTimeout = request
            AttemptTimeout = attempt
            Retry = retry |> Option.map (fun validate -> validate (Field "retry" :: path) attempt)
        }

    /// `backends` are the backends that the route forwards to.
    let http (checks: Checks) path backends (route: Decoded.HttpRoute) : Policies =
        route.Retry
        |> Option.map (fun given path attempt -> retry checks path Protocol.Http attempt given [])
        |> policies checks path backends route.Timeouts

    let grpc (checks: Checks) path backends (route: Decoded.GrpcRoute) : Policies =
        route.Retry
        |> Option.map (fun given path attempt -> grpcRetry checks path attempt given)
        |> policies checks path backends route.Timeouts

    let budget (checks: Checks) path (budget: Decoded.RetryBudget) =
        let path = Field "retry_budget" :: path

        budget.Percent
        |> Option.iter (fun value -> checks.InRange(Field "percent" :: path, NumberRange.percent, value))

        checks.DurationInRange(Field "interval" :: path, TimeSpan.FromSeconds 1.0, minute, budget.Interval)

        budget.MinPerSecond
        |> Option.iter (fun value -> checks.InRange(Field "min_per_second" :: path, NumberRange.perSecond, value))
