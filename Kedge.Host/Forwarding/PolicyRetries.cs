using System.Globalization;
using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Kedge.Wire.Upstream;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Forwarding;

/// <summary>
/// Decides whether to retry one request, by the policy of its route and within the budget of its backend.
/// </summary>
/// <param name="methodAllows">Whether the request may be processed twice.</param>
internal sealed class PolicyRetries(
    RetryPolicy policy, Backend backend, bool methodAllows, DrainClock drain, ProxyTelemetry telemetry)
{
    private int _retries;
    // Why the current attempt is a retry; null for the first one.
    private string? _reason;

    public int MaxBody => policy.MaxBody;

    /// <summary>Whether the policy asks for a retry after this response.</summary>
    /// <param name="status">The HTTP status, or the gRPC status.</param>
    public bool Names(UpstreamResponse response, out int status)
    {
        status = (int)response.StatusCode;
        if (backend.Protocol.IsGrpc)
        {
            // A response with headers before its trailers is committed (gRPC A6).
            if (!response.HasNoContent
                || !response.Fields.TryGet(GrpcHeaders.Status, out var text)
                || !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out status))
            {
                return false;
            }
        }
        return policy.Names(RetryCause.Status, status);
    }

    /// <summary>Whether the policy asks for a retry after this failure, before the headers of a response.</summary>
    public bool Names(UpstreamException failure) =>
        failure.Kind is FailureKind.Closed or FailureKind.StreamReset or FailureKind.GoAway
        && policy.Names(RetryCause.Reset, 0);

    /// <summary>Whether the policy asks for a retry after an attempt that took too long.</summary>
    public bool NamesTimeout => policy.Names(RetryCause.AttemptTimeout, 0);

    /// <summary>Decides whether to send the request again.</summary>
    /// <param name="response">A response with a status that the policy names; null for any other cause.</param>
    /// <param name="isKept">Whether the whole request can be sent once more.</param>
    /// <param name="left">The time left for the request.</param>
    /// <returns>The pause before the retry; null = no retry.</returns>
    public TimeSpan? Next(RetryCause cause, int status, UpstreamResponse? response, bool isKept, TimeSpan left)
    {
        var reason = ReasonOf(cause, status);
        if (_reason is { } previous)
        {
            telemetry.CountRetry(backend.Name, previous, "failure");
            _reason = null;
        }
        var (decision, pause) = policy.Decide(new RetryFacts(
            cause,
            status,
            _retries,
            methodAllows,
            isKept,
            response is null ? default : PushbackOf(response),
            left,
            drain.IsLate,
            Random.Shared.NextDouble()));
        var withheld = decision switch
        {
            RetryDecision.Retry => backend.Budget.TryTake() ? null : "withheld_budget",
            RetryDecision.WithheldMethod => "withheld_method",
            RetryDecision.WithheldBody => "withheld_body",
            RetryDecision.WithheldPushback => "withheld_pushback",
            RetryDecision.WithheldTime => "withheld_time",
            _ => "",
        };
        if (withheld is null)
        {
            _retries++;
            _reason = reason;
            return pause;
        }
        if (withheld.Length > 0)
        {
            telemetry.CountRetry(backend.Name, reason, withheld);
        }
        return null;
    }

    /// <summary>The last attempt has ended.</summary>
    public void End(bool succeeded)
    {
        if (_reason is { } reason)
        {
            telemetry.CountRetry(backend.Name, reason, succeeded ? "success" : "failure");
            _reason = null;
        }
    }

    private string ReasonOf(RetryCause cause, int status) => cause switch
    {
        RetryCause.Reset => "reset",
        RetryCause.AttemptTimeout => "attempt_timeout",
        _ => backend.Protocol.IsGrpc
            ? GrpcStatuses.NameOf(status)
            : status.ToString(CultureInfo.InvariantCulture),
    };

    /// <summary>
    /// RFC 9110, 10.2.3; gRPC A6. A value that is not a number of seconds or milliseconds forbids a retry.
    /// </summary>
    private Microsoft.FSharp.Core.FSharpValueOption<TimeSpan> PushbackOf(UpstreamResponse response)
    {
        var isGrpc = backend.Protocol.IsGrpc;
        if (!response.Fields.TryGet(isGrpc ? GrpcHeaders.RetryPushback : HeaderNames.RetryAfter, out var text))
        {
            return default;
        }
        var never = TimeSpan.FromTicks(-1);
        var pause = !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? never
            : isGrpc ? TimeSpan.FromMilliseconds(number)
            : TimeSpan.FromSeconds(number);
        return Microsoft.FSharp.Core.FSharpValueOption<TimeSpan>.NewValueSome(pause);
    }
}
