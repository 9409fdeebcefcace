using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Http;
using Kedge.Wire.Upstream;
using Microsoft.AspNetCore.Http.Features;
using Endpoint = Kedge.Host.Backends.Endpoint;

namespace Kedge.Host.Forwarding;

// How an exchange ends: what the caller gets instead of a response, and what counts against the endpoint.
internal sealed partial class Exchange
{
    private LocalReply? _failure;

    /// <summary>Whether the time limit of the request or of its last attempt has passed.</summary>
    public bool HasTimedOut => _attemptLimit is { IsCancellationRequested: true } || Progress.DeadlineHasPassed;

    /// <summary>Why the exchange was ended, or got no response; null when the forwarder reports the cause.</summary>
    public LocalReply? Failure =>
        HasResponded ? _failure
        : Progress.CallerFault is not null ? LocalReply.BadRequestBody
        : Progress.CallerStalled ? (Progress.IsUnread ? LocalReply.ResponseUnread : LocalReply.RequestTimeout)
        : _failure ?? (Progress.IsInactive ? LocalReply.Inactive : null);

    /// <summary>
    /// Whether the response has been forwarded to its end. After that, nothing that happens to the rest of the request
    /// is a failure.
    /// </summary>
    public bool HasResponded { get; set; }

    /// <summary>Whether an HTTP/1.1 response has started and will not be completed.</summary>
    public bool IsCut { get; private set; }

    /// <summary>The exception behind <see cref="Failure"/>, if there was one.</summary>
    public Exception? Cause { get; private set; }

    private bool DetectsOutliers => _destination.Policy.EjectAfter > 0;

    /// <summary>
    /// Ends a gRPC response that failed after it had started: puts the status into its trailers, if that is still
    /// possible.
    /// </summary>
    /// <returns>Whether the response ends with these trailers.</returns>
    public bool TryEndInTrailers(HttpContext context, Exception e)
    {
        if (context.RequestAborted.IsCancellationRequested)
        {
            return false;
        }
        if (e is OperationCanceledException)
        {
            if (!HasTimedOut)
            {
                return false;
            }
            _failure = LocalReply.DeadlineExceeded;
        }
        else
        {
            _failure = Failure ?? LocalReply.BrokenOff;
        }
        Cause = e;
        _failure.SetTrailers(context);
        return true;
    }

    /// <summary>
    /// Ends an exchange whose endpoint failed after the response had started, so that the caller notices that the body
    /// is incomplete: resets the stream, or has the connection closed (<see cref="IsCut"/>).
    /// </summary>
    public void BreakOff(Exception cause)
    {
        if (Failure is null)
        {
            _failure = HasTimedOut ? LocalReply.AttemptTimedOut : LocalReply.BrokenOff;
        }
        Cause = cause;
        if (_context.Features.Get<IHttpResetFeature>() is { } reset)
        {
            // RFC 9113, 7. Clients take it for a failure of the server; they would take CANCEL for their own
            // cancellation.
            const int internalError = 2;
            reset.Reset(internalError);
        }
        else if (HttpProtocol.IsHttp11(_context.Request.Protocol))
        {
            IsCut = true;
            _content?.Stop();
        }
        else
        {
            // HTTP/1.0: the end of the connection alone could pass for the end of the body.
            _context.Abort();
        }
    }

    /// <summary>Records the outcome of a gRPC response that has its status in the trailers.</summary>
    public void RecordOutcome(FieldList trailers)
    {
        if (Protocol.IsGrpc
            && DetectsOutliers
            && _endpoint is { } endpoint
            && ResponseOutcome.FromTrailers(trailers) is { } failed)
        {
            RecordOutcome(endpoint, failed);
        }
    }

    /// <summary>Records that the endpoint broke off, which counts as a failed response.</summary>
    public void RecordFailure()
    {
        if (DetectsOutliers
            && _endpoint is { } endpoint
            && !Progress.IsCallersFault
            && !_context.RequestAborted.IsCancellationRequested)
        {
            RecordOutcome(endpoint, failed: true);
        }
    }

    private void RecordOutcome(Endpoint endpoint, UpstreamResponse response)
    {
        if (!DetectsOutliers)
        {
            endpoint.Succeeded();
        }
        else if (ResponseOutcome.FromHeaders(response, Protocol) is { } failed)
        {
            RecordOutcome(endpoint, failed);
        }
        else
        {
            endpoint.Connected();
        }
    }

    private void RecordOutcome(Endpoint endpoint, bool failed)
    {
        if (!failed)
        {
            endpoint.Succeeded();
        }
        else if (_destination.Endpoints.RecordFailure(endpoint, _destination.Policy))
        {
            _logger.LogWarning(
                "endpoint {Endpoint} of {Target} is ejected for {Duration} after {Failures} consecutive failures",
                endpoint,
                _destination.Name,
                TimeSpan.FromTicks(_destination.Policy.EjectionTime),
                _destination.Policy.EjectAfter);
        }
    }

    private void ConnectFailed(Endpoint endpoint, UpstreamException e)
    {
        endpoint.ConnectFailed(_destination.Policy, Clock.Now);
        _telemetry.DialFailed(BackendName, endpoint.Name);
        _logger.LogDebug(
            "no connection to {Endpoint} of {Target}: {Reason}", endpoint, _destination.Name, ConnectFailure.Reason(e));
    }

    /// <summary>The reply to a request that got no response; null when the forwarder's error decides it.</summary>
    private LocalReply? ReplyTo(UpstreamException? failure) => failure switch
    {
        // The endpoint accepted the connection, and broke it off before HTTP/2 was set up.
        { Kind: FailureKind.Connect, InnerException: UpstreamException } => null,
        null or { Kind: FailureKind.Connect } or { Sent: SentState.CertainlyNotProcessed } =>
            LocalReply.NoConnection(_destination.Name, ConnectFailure.Reason(failure)),
        { Kind: FailureKind.Limit } => LocalReply.TooManyRequests(_destination.Name),
        { Kind: FailureKind.Waited } => LocalReply.NoPlace(_destination.Name),
        { Kind: FailureKind.InvalidRequest } => LocalReply.BadRequest(failure.Message),
        { Kind: FailureKind.HeadTooLarge } => LocalReply.BrokenOff with { Reason = failure.Message },
        { Kind: FailureKind.MalformedResponse } => LocalReply.BrokenOff with
        {
            Reason = $"the response of the backend is invalid: {failure.Message}",
        },
        _ => null,
    };
}
