using System.Net.Http.Headers;
using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Http;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Http.Features;
using Endpoint = Kedge.Host.Backends.Endpoint;

namespace Kedge.Host.Forwarding;

/// <summary>
/// One request and its response. For the forwarder it is the client that sends the request; it picks the endpoint, and
/// another one when no connection can be made, without the forwarder noticing.
/// </summary>
internal sealed class Exchange : HttpMessageInvoker
{
    private static readonly HttpMessageHandler Unused = new NoHandler();

    private readonly HttpContext _context;
    private readonly Destination _destination;
    private readonly string _query;
    private readonly ILogger _logger;
    private readonly ProxyTelemetry _telemetry;
    private HttpContent? _content;
    private Endpoint? _endpoint;
    private LocalReply? _failure;

    /// <param name="query">As the caller sent it, with its leading <c>?</c>; empty when there is none.</param>
    /// <param name="destination">Left when the exchange ends.</param>
    /// <param name="record">With the authority and path of the request.</param>
    public Exchange(
        HttpContext context,
        string query,
        in Destination destination,
        RequestRecord record,
        ProxyTelemetry telemetry,
        ILogger logger)
        : base(Unused, disposeHandler: false)
    {
        _context = context;
        _destination = destination;
        _query = query;
        _telemetry = telemetry;
        _logger = logger;
        Record = record;
        Progress = new ExchangeProgress(isExempt: record.Protocol.IsGrpc);
    }

    public RequestRecord Record { get; }

    public ExchangeProgress Progress { get; }

    public Protocol Protocol => Record.Protocol;

    public UpstreamClient Client => _destination.Client;

    /// <summary>What the route changes; null = nothing.</summary>
    public Filters? Filters => _destination.Filters;

    /// <summary>Null for an ad-hoc target.</summary>
    public string? BackendName => _destination.Backend?.Name;

    /// <summary>Why the exchange was ended, or got no response; null when the forwarder reports the cause.</summary>
    public LocalReply? Failure =>
        Progress.CallerFault is not null ? LocalReply.BadRequestBody
        : Progress.CallerStalled ? LocalReply.RequestTimeout
        : _failure ?? (Progress.IsInactive ? LocalReply.Inactive : null);

    /// <summary>The exception behind <see cref="Failure"/>, if there was one.</summary>
    public Exception? Cause { get; private set; }

    /// <summary>The headers that belong to the content, whether or not there is any.</summary>
    public HttpContentHeaders ContentHeaders => (_content ??= new NoContent()).Headers;

    private bool HasBody => _content is RequestContent;

    /// <summary>Whether the whole request can be sent, for the first time or again.</summary>
    private bool IsReplayable => _content is not RequestContent { IsReplayable: false };

    private bool DetectsOutliers => _destination.Policy.EjectAfter > 0;

    /// <summary>Replaces the forwarder's content by one that can be observed and sent again.</summary>
    /// <param name="copying">Null when the request has no body.</param>
    public void PrepareContent(HttpContent? copying)
    {
        if (copying is null)
        {
            _content = null;
            return;
        }
        // Step 4: the body of the request.
        var request = _context.Request;
        // Only HTTP/2 endpoints refuse streams.
        var replay = Client.Protocol.IsGrpc || Client.IsTls ? new RequestReplay() : null;
        var body = new RequestBody(
            request.Body,
            request.ContentLength,
            replay,
            mayUseHttp11: !Client.Protocol.IsGrpc,
            Progress,
            GrpcMessages.OfRequest(Record));
        request.Body = body;
        _content = new RequestContent(copying, body, replay);
        Progress.RequestBodyStarted();
    }

    public override async Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (_content is not null)
        {
            request.Content = _content;
        }
        List<Endpoint>? tried = null;
        Exception? refusal = null;
        var invoker = Client.Pooled;
        var next = Pick(null);
        while (next is { } endpoint)
        {
            // Step 5: send the request to an endpoint. docs/matching.md#attempts lists when it is sent again.
            BeginAttempt(endpoint);
            request.RequestUri = endpoint.UriOf(_destination.Path ?? Record.Path, _query);
            if (Client.IsTls)
            {
                request.Options.Set(Connector.EndpointOption, endpoint);
            }
            try
            {
                var response = await invoker.SendAsync(request, cancellationToken);
                (_content as RequestContent)?.ResponseReceived();
                RecordOutcome(endpoint, response);
                return response;
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested
                && IsReplayable && ConnectFailure.Is(e))
            {
                // Nothing was sent: try another endpoint.
                refusal = e;
                endpoint.ConnectFailed(_destination.Policy, Clock.Now);
                _telemetry.DialFailed(BackendName, endpoint.Name);
                _logger.LogDebug(
                    "no connection to {Endpoint} of {Target}: {Reason}",
                    endpoint,
                    _destination.Name,
                    ConnectFailure.Reason(e));
                (tried ??= []).Add(endpoint);
                next = Pick(tried);
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested
                && IsReplayable && ConnectFailure.IsRefusedStream(e))
            {
                // Not processed: try another endpoint. This one remains healthy.
                refusal = e;
                (tried ??= []).Add(endpoint);
                next = Pick(tried);
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested
                && invoker == Client.Pooled && MayRetry(e))
            {
                invoker = Client.NewConnection;
            }
        }
        _failure ??= LocalReply.NoConnection(_destination.Name, ConnectFailure.Reason(refusal));
        throw refusal!;
    }

    /// <summary>
    /// Ends an exchange whose endpoint failed after the response had started: resets the stream or closes the
    /// connection, so that the caller notices that the body is incomplete.
    /// </summary>
    public void BreakOff(Exception cause)
    {
        if (Failure is null)
        {
            _failure = LocalReply.BrokenOff;
        }
        Cause = cause;
        RecordFailure();
        if (_context.Features.Get<IHttpResetFeature>() is { } reset)
        {
            const int internalError = 2;
            reset.Reset(internalError);
        }
        else
        {
            _context.Abort();
        }
    }

    /// <summary>Records the outcome of a gRPC response that has its status in the trailers.</summary>
    public void RecordOutcome(HttpResponseHeaders trailers)
    {
        if (Protocol.IsGrpc
            && DetectsOutliers
            && _endpoint is { } endpoint
            && ResponseOutcome.FromTrailers(trailers) is { } failed)
        {
            RecordOutcome(endpoint, failed);
        }
    }

    /// <summary>The endpoint broke off, which counts as a failed response.</summary>
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

    /// <summary>Releases what the exchange holds.</summary>
    public void End()
    {
        _destination.Leave();
        _endpoint?.RequestEnded();
        Progress.End();
    }

    private void RecordOutcome(Endpoint endpoint, HttpResponseMessage response)
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

    /// <summary>The endpoint of the next attempt; null when all were tried.</summary>
    private Endpoint? Pick(List<Endpoint>? tried)
    {
        using var span = Tracing.StartPicking(Record);
        var endpoint = _destination.Endpoints.Pick(_destination.Ticket, tried);
        if (span is not null)
        {
            Tracing.Picked(span, Record, endpoint?.Name);
        }
        return endpoint;
    }

    private void BeginAttempt(Endpoint endpoint)
    {
        Record.Attempts++;
        if (!ReferenceEquals(_endpoint, endpoint))
        {
            _endpoint?.RequestEnded();
            endpoint.RequestStarted();
            _endpoint = endpoint;
            Record.Endpoint = endpoint.Name;
        }
    }

    /// <summary>
    /// Whether the request may be sent once more, on a new connection: nothing was sent, or it is idempotent without a
    /// body (RFC 9110, 9.2.2) and the connection, which had been used before, closed.
    /// </summary>
    private bool MayRetry(Exception e) =>
        ConnectionLostException.In(e) is { } lost
        && IsReplayable
        && (lost.NothingSent || (lost.Reused && !HasBody && IsIdempotent(_context.Request.Method)));

    private static bool IsIdempotent(string method) =>
        HttpMethods.IsGet(method) || HttpMethods.IsHead(method) || HttpMethods.IsPut(method)
        || HttpMethods.IsDelete(method) || HttpMethods.IsOptions(method) || HttpMethods.IsTrace(method);

    private sealed class NoHandler : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CancellationToken cancellationToken) =>
            throw new NotSupportedException("an exchange sends through the handlers of its client");
    }
}
