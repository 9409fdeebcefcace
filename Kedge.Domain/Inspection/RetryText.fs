namespace Kedge.Domain

open System
open Kedge.Domain.Decoded

/// Timeouts and retries in reports.
[<RequireQualifiedAccess>]
module internal RetryText =

    let private causes (protocol: Protocol) (policy: RetryPolicy) : string =
        [
            for status in policy.Statuses do
                if protocol.IsGrpc then
                    ActionJson.grpcStatuses
                    |> List.find (fun (_, known) -> int known = status)
                    |> fst
                else
                    string status
            if policy.OnReset then
                "RESET_BEFORE_HEADERS"
            if policy.OnAttemptTimeout then
                "ATTEMPT_TIMEOUT"
        ]
        |> String.concat ", "

    let private timeouts (policies: Policies) : string =
        [
            if policies.RequestTimeout > TimeSpan.Zero then
                $"request {Duration.Format policies.RequestTimeout}"
            if policies.AttemptTimeout > TimeSpan.Zero then
                $"attempt {Duration.Format policies.AttemptTimeout}"
        ]
        |> String.concat ", "

    let private more (policy: RetryPolicy) = $"up to {policy.Attempts} more"

    /// The policies of a route as differences show them.
    let changed (protocol: Protocol) (policies: Policies) : string =
        let limits = timeouts policies

        let retries =
            match policies.Retry with
            | None -> "without retries"
            | Some policy ->
                let methods, _ =
                    RetryJson.methods |> List.find (fun (_, known) -> known = policy.Methods)

                $"retries {methods} {more policy} on {causes protocol policy}, "
                + $"body to {ByteSize.format (uint32 policy.MaxBody)}, "
                + $"backoff {Duration.Format policy.BackoffBase} to {Duration.Format policy.BackoffMax}"

        if limits = "" then
            $", {retries}"
        else
            $", timeouts {limits}, {retries}"

    /// What applies to one request: lines of `kedge explain`. `budget` is the backend's.
    let lines (policies: Policies) (backend: string) (budget: RetryBudget option) (request: Request) : string list =
        [
            if timeouts policies <> "" then
                $"timeouts: {timeouts policies}"

            match policies.Retry with
            | None -> ()
            | Some policy ->
                let method, hasKey =
                    match request with
                    | Http request ->
                        request.Method,
                        request.Headers
                        |> List.exists (fun (name, _) ->
                            name.Equals("idempotency-key", StringComparison.OrdinalIgnoreCase))
                    | Grpc _ -> "POST", false

                if policy.Allows(method, hasKey) then
                    let percent = (RetryBudget.Of budget).Percent

                    $"retries: {method}: {more policy} on {causes request.Protocol policy}, "
                    + $"other endpoint first; budget {percent} %% of {backend}"
                else
                    $"retries: {method}: not retried (not idempotent)"
        ]
